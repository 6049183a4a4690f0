"""The programs of whimbrel's container for models: ``ENTRYPOINT ["python", "-m",
"whimbrel.prediction.sagemaker.container"]``, run with

========================  =====================================================================================
``serve``                 SageMaker's contract for endpoints: GET /ping, POST /invocations
``train``                 SageMaker's contract for training jobs (training_job.py)
``renew …``               a step of a renewal: `whimbrel renew …` by the project file that WHIMBREL_PROJECT names
``ping``                  whether ``serve`` answers in this container: its health check
========================  =====================================================================================

The model is the one model file below /opt/ml/model (where SageMaker unpacks model.tar.gz), or SM_MODEL_DIR; the port
is 8080, or SAGEMAKER_BIND_TO_PORT. GET /ping is 200 as soon as the model is loaded, warmed and checked.
"""

from __future__ import annotations

import logging
import os
import sys
import tempfile
import time
import urllib.error
import urllib.request
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
PROJECT = "WHIMBREL_PROJECT"  # s3://bucket/prefix/whimbrel.toml, or a path
PING_SECONDS = 2.0  # that SageMaker gives it


def main(arguments: list[str]) -> int:
    program = _PROGRAMS.get(arguments[0]) if arguments else None
    if program is None or (len(arguments) > 1 and program is not _renew):
        known = "|".join(_PROGRAMS)
        print(f"usage: docker run IMAGE {known} (not {' '.join(arguments) or 'nothing'})", file=sys.stderr)
        return 2
    with private():
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
        try:
            return program(arguments[1:])
        except WhimbrelError as error:
            print(f"whimbrel: {error}", file=sys.stderr)
            return 2 if isinstance(error, UserError) else 3


def _serve(_: list[str]) -> int:
    with tempfile.TemporaryDirectory() as folder:
        run(_answering(Path(folder)))
    return 0


def _train(_: list[str]) -> int:
    from whimbrel.prediction.sagemaker.training_job import run_job

    return run_job(Path(os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")))


def _renew(arguments: list[str]) -> int:
    """In the working folder, which must be one that may be written to: the state folder is in it.

    It takes this process's place, so that a signal reaches it.
    """
    file = project_file(os.environ.get(PROJECT, ""), Path.cwd())
    command = [sys.executable, "-m", "whimbrel", "renew", "--json", "--project", str(file), *arguments]
    os.execv(sys.executable, command)


def _ping(_: list[str]) -> int:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{_port()}/ping", timeout=PING_SECONDS).close()
    except (urllib.error.URLError, OSError) as error:
        print(f"/ping: {error}", file=sys.stderr)
        return 1
    return 0


_PROGRAMS = {"serve": _serve, "train": _train, "renew": _renew, "ping": _ping}


def project_file(address: str, folder: Path) -> Path:
    """The project file in ``folder``; fetched, where the address is in S3. Raises UserError where it is not there."""
    from whimbrel.bucket import bucket_of
    from whimbrel.durable import replace_file
    from whimbrel.project import Target
    from whimbrel.project.store import SCHEME, store_of

    if not address.startswith(SCHEME):
        if not address or not Path(address).is_file():
            hint = f"Set {PROJECT} to s3://BUCKET/PREFIX/whimbrel.toml."
            raise UserError(f"there is no project file {address!r}", place=PROJECT, hint=hint)
        return Path(address)
    place, _, name = address.rpartition("/")
    store = store_of(place, "")
    found = bucket_of(store, Target()).get(name) if store else None
    if found is None:
        raise UserError(f"there is no project file {address!r}", place=PROJECT, hint="Put it there.")
    file = folder / "whimbrel.toml"
    replace_file(file, found)
    return file


async def _answering(folder: Path) -> None:
    registry = Registry(folder)
    await in_thread(enter_only_model, registry, model_file(Path(os.environ.get("SM_MODEL_DIR", "/opt/ml/model"))))
    await serve(
        Serving(registry, refuse_unknown=[NAME] if _refuses_unknown() else ()),
        host=os.environ.get("WHIMBREL_HOST"),  # None: SageMaker reaches the container from outside of it
        port=_port(),
        limits=Limits(),
        access=AccessRules(control=False, hosts=(ANY_HOST,)),
        until=until_a_signal,
        ready=lambda port: logging.getLogger("whimbrel.serve").info("ready on port %d", port),
    )


def _port() -> int:
    return int(os.environ.get("SAGEMAKER_BIND_TO_PORT", "8080"))


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
