"""The clients of SageMaker, and how they are asked: again, while AWS is away or has enough to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.session import Session, translate
from whimbrel.errors import Stopped, TargetUnreachable, Throttled, UnexpectedAnswer
from whimbrel.project import Project
from whimbrel.project.sagemaker import SageMaker

PATIENCE = 3_600.0  # seconds for which AWS may not answer; a job goes on meanwhile
LONGEST_PAUSE = 30.0
TRIES = 6  # before AWS has answered once, as the endpoint may be wrong


@dataclass
class Client:
    """SageMaker as a project reaches it. ``stop`` ends every wait with Stopped.

    Every call may be made again: what is made has a name that says what it is, so it is made once.
    """

    settings: SageMaker
    session: Session
    runtime_session: Session
    stop: threading.Event
    _clients: dict[str, Any] = field(default_factory=dict)
    _answered: bool = False

    def ask(self, operation: str, place: str, service: str = "sagemaker", **request: Any) -> dict[str, Any]:
        """The answer. Raises RequestRefused, PrivilegeError, Stopped; after PATIENCE TargetUnreachable, Throttled."""
        backoff, began, tries = Backoff(0.2, LONGEST_PAUSE), time.monotonic(), 0
        while True:
            try:
                answer = self._called(operation, place, service, request)
            except (TargetUnreachable, Throttled):
                tries += 1
                if time.monotonic() - began >= PATIENCE or (tries >= TRIES and not self._answered):
                    raise
                self.wait(backoff.next(), place)
            else:
                self._answered = True
                return answer

    def listed(self, operation: str, key: str, place: str, **request: Any) -> Iterator[dict[str, Any]]:
        """Every page of a list."""
        more: dict[str, str] = {}
        while True:
            page = self.ask(operation, place, **request, **more)
            yield from said(page, place, key)
            if not page.get("NextToken"):
                return
            more = {"NextToken": page["NextToken"]}

    def wait(self, seconds: float, place: str) -> None:
        """Raises Stopped."""
        if self.stop.wait(seconds):
            hint = "What SageMaker does goes on. Run the same command again to follow it."
            raise Stopped("asked to stop", place=place, hint=hint)

    def service(self, name: str) -> Any:
        """A client of boto3."""
        if name not in self._clients:
            session = self.runtime_session if name == "sagemaker-runtime" else self.session
            self._clients[name] = session.service(name)
        return self._clients[name]

    def close(self) -> None:
        for each in self._clients.values():
            each.close()
        self._clients.clear()

    def _called(self, operation: str, place: str, service: str, request: dict[str, Any]) -> dict[str, Any]:
        try:
            answer: dict[str, Any] = getattr(self.service(service), operation)(**request)
        except Exception as error:  # what boto3 raises; the others go on as they are
            translate(error, place)
        return answer


def client_of(project: Project, stop: threading.Event | None = None) -> Client:
    """Raises UserError where there is no region, or no credentials."""
    settings = project.predict.sagemaker
    assert settings, "the project file was refused without it"
    session = Session(replace(project.target, endpoint=settings.endpoint), "sagemaker")
    at = settings.runtime_endpoint or settings.endpoint
    runtime = Session(replace(project.target, endpoint=at), "sagemaker-runtime")
    return Client(settings, session, runtime, stop or threading.Event())


def said(answer: dict[str, Any], place: str, key: str) -> Any:
    """Raises UnexpectedAnswer where the answer does not have it."""
    if key not in answer:
        raise UnexpectedAnswer(f"the answer has no {key}", place=place, hint="Run the same command again.")
    return answer[key]


def as_name(text: str) -> str:
    """Letters, digits and hyphens, as names are there."""
    spaced = "".join(each if each.isascii() and each.isalnum() else "-" for each in text)
    return "-".join(part for part in spaced.split("-") if part)


def tags(settings: SageMaker) -> list[dict[str, str]]:
    return [{"Key": key, "Value": value} for key, value in {"made-by": "whimbrel", **settings.tags}.items()]
