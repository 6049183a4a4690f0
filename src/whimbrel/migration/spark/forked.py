"""The process from which Spark forks its Python workers on this machine: it has imported what a task needs.

Else each worker would import it for itself, which takes 0.4 s of CPU time. On a cluster whimbrel is not there yet when
this process begins (boot.py). It must not start a thread: its workers would not have it.
"""

from __future__ import annotations

import sys

import botocore.session  # noqa: F401  # imported later, by the first session

from whimbrel.migration.spark import task  # noqa: F401

if __name__ == "__main__":
    sys.modules.setdefault("numpy", None)  # type: ignore[arg-type]  # pyspark would import it, for statistics
    from pyspark.daemon import manager

    manager()
