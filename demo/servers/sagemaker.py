"""A stand-in for SageMaker on this machine: demo/sagemaker.py."""

from __future__ import annotations

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from demo.servers.process import Server

ROOT = Path(__file__).parents[2]


class SageMaker(Server):
    """``s3`` is the address of S3. ``change`` changes what it does; ``calls`` are those so far, with their requests."""

    name = "sagemaker"
    region = "us-east-1"

    def __init__(self, s3: str, folder: Path | str | None = None) -> None:
        super().__init__(folder)
        self._s3 = s3

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def change(self, **settings: Any) -> None:
        self._ask("Set", settings)

    def calls(self, operation: str = "") -> list[dict[str, Any]]:
        found = self._ask("Calls", {})["calls"]
        return [given for _, name, given in found if not operation or name == operation]

    def operations(self) -> set[str]:
        """Which there were, as IAM names them."""
        return {f"{service}:{name}" for service, name, _ in self._ask("Calls", {})["calls"]}

    def _ask(self, operation: str, given: dict[str, Any]) -> Any:
        headers = {"X-Amz-Target": f"StandIn.{operation}", "Content-Type": "application/x-amz-json-1.1"}
        request = urllib.request.Request(self.endpoint, json.dumps(given).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def _command(self) -> list[str]:
        return [sys.executable, "-m", "demo.sagemaker", str(self.folder / "data"), str(self.port), self._s3]

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def _answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.endpoint}/status", timeout=5).close()
        except (urllib.error.URLError, OSError):
            return False
        return True
