"""SageMaker's container contract: ``ENTRYPOINT ["python", "-m", "whimbrel.prediction.sagemaker.container"]``, run with
``serve`` or ``train`` (training_job.py).

The model is the one model file below /opt/ml/model (where SageMaker unpacks model.tar.gz), or SM_MODEL_DIR; the port
is 8080, or SAGEMAKER_BIND_TO_PORT. GET /ping is 200 as soon as the model is loaded, warmed and checked.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
from pathlib import Path

from whimbrel.errors import UserError, WhimbrelError
from whimbrel.prediction.model.artifact import model_file
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.serve.access import ANY_HOST, AccessRules
from whimbrel.prediction.serve.listener import Limits
from whimbrel.prediction.serve.registry import CREATING, EndpointConfig, Registry, StoredEndpoint, Variant
from whimbrel.prediction.serve.server import run, serve, until_a_signal
from whimbrel.prediction.serve.serving import Serving, take_model
from whimbrel.private import private
from whimbrel.project.endpoint import UNKNOWN
from whimbrel.threads import in_thread

NAME = "model"


def main(arguments: list[str]) -> int:
    if arguments not in (["serve"], ["train"]):
        print(f"usage: docker run IMAGE serve|train (not {' '.join(arguments) or 'nothing'})", file=sys.stderr)
        return 2
    with private():
        return _run(arguments)


def _run(arguments: list[str]) -> int:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    if arguments == ["train"]:
        from whimbrel.prediction.sagemaker.training_job import run_job

        return run_job(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))
    try:
        with tempfile.TemporaryDirectory() as folder:
            run(_serve(Path(folder)))
    except WhimbrelError as error:
        print(f"whimbrel: {error}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 3
    return 0


async def _serve(folder: Path) -> None:
    registry = Registry(folder)
    await in_thread(enter_only_model, registry, model_file(Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))))
    await serve(
        Serving(registry, refuse_unknown=[NAME] if _refuses_unknown() else ()),
        host=os.environ.get("WHIMBREL_HOST"),  # None: SageMaker reaches the container from outside of it
        port=int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080")),
        limits=Limits(),
        access=AccessRules(control=False, hosts=(ANY_HOST,)),
        until=until_a_signal,
        ready=lambda port: logging.getLogger("whimbrel.serve").info("ready on port %d", port),
    )


def _refuses_unknown() -> bool:
    found = os.environ.get("WHIMBREL_UNKNOWN", "count")
    if found not in UNKNOWN:
        raise UserError(f"must be {' or '.join(UNKNOWN)}, not {found!r}", place="WHIMBREL_UNKNOWN")
    return found == "refuse"


def enter_only_model(registry: Registry, path: Path) -> None:
    take_model(registry, NAME, path, load_model(path), path)
    now = time.time()
    config = EndpointConfig(NAME, (Variant("AllTraffic", NAME),), now)
    endpoint = StoredEndpoint(NAME, NAME, CREATING, now, now)
    registry.change(lambda state: state.with_config(config).with_endpoint(endpoint))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
