"""Tests run beside each other: a library's threads for each core would only wait for one another."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
