"""``python -m tests.prediction.serve.faulty FOLDER``: the server without the command line. It starts quickly.

Models can do harm here, by the words in their version:
``broken`` fails on each call after those of its check, ``slow`` takes 30 ms a call, ``late`` takes long to load.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from whimbrel.prediction.model.model import Model, Prediction, load_model
from whimbrel.prediction.model.unknown import Found
from whimbrel.prediction.sagemaker.control import Control
from whimbrel.prediction.sagemaker.places import Folders
from whimbrel.prediction.sagemaker.training_jobs import TrainingJobs
from whimbrel.prediction.serve.deploy import SERVER_FILE
from whimbrel.prediction.serve.listener import Limits
from whimbrel.prediction.serve.registry import Registry, sole_user
from whimbrel.prediction.serve.rollout import Guard
from whimbrel.prediction.serve.server import run, serve, until_a_signal
from whimbrel.prediction.serve.serving import Serving


class Faulty(Model):
    def predict(self, rows: Sequence[Any], unknown: list[Found] | None = None) -> list[Prediction]:
        real = isinstance(rows[0], list) and rows[0][0] == "66"  # the age that the tests send to do harm
        if "broken" in self.version and real:
            raise RuntimeError("out of order")
        if "slow" in self.version and real:
            time.sleep(0.03)
        return super().predict(rows, unknown)


def load(path: Path) -> Model:
    model = load_model(path)
    if "late" in model.version:
        time.sleep(0.8)
    object.__setattr__(model, "__class__", Faulty)
    return model


def main(folder: Path) -> None:
    registry = folder / ".whimbrel" / "serve"

    def ready(port: int) -> None:
        url = json.dumps({"url": f"http://127.0.0.1:{port}"})
        (registry / SERVER_FILE).write_text(url)
        print(url, flush=True)

    async def work() -> None:
        guards = {"ServiceEndpoint": Guard(least_calls=10)}
        serving = Serving(Registry(registry), loader=load, guards=guards)
        control = Control(serving, TrainingJobs(registry / "jobs"), Folders([folder]))
        limits = Limits(request=1.0, idle=5.0)
        await serve(
            serving,
            host="127.0.0.1",
            port=0,
            limits=limits,
            ready=ready,
            until=until_a_signal,
            control=control,
        )

    with sole_user(registry):
        run(work())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
