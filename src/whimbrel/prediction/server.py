"""The project's server: its endpoints and their control, until it is told to stop."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

import orjson

from whimbrel.durable import replace_file
from whimbrel.prediction.sagemaker.control import Control
from whimbrel.prediction.sagemaker.places import folders_of
from whimbrel.prediction.sagemaker.training_jobs import TrainingJobs
from whimbrel.prediction.serve.access import AccessRules
from whimbrel.prediction.serve.deploy import SERVER_FILE, deploy
from whimbrel.prediction.serve.listener import Limits
from whimbrel.prediction.serve.project import deploy_new_endpoints, endpoint_rule, only_endpoint, registry_folder
from whimbrel.prediction.serve.registry import Registry, sole_user
from whimbrel.prediction.serve.rollout import Guard
from whimbrel.prediction.serve.secrets import access_of
from whimbrel.prediction.serve.server import Until, run, serve, until_set
from whimbrel.prediction.serve.serving import Serving
from whimbrel.project import Project

__all__ = ["serve_project", "until_set"]

_log = logging.getLogger("whimbrel.serve")


def serve_project(
    project: Project,
    *,
    host: str,
    port: int | None,
    model: Path | None,
    endpoint: str,
    ready: Callable[[str], None],
    until: Until,
) -> None:
    """Serve the project's endpoints until ``until`` returns; with ``model``, deploy it first.

    ``ready`` is given the URL. Raises UserError, and Locked where a server of this project runs already.
    """
    host = host or project.predict.serve.host
    access = access_of(project)
    access.check(host)
    folder = registry_folder(project)
    if model:
        deploy(folder, endpoint_rule(project, endpoint or only_endpoint(project)), model)
    deploy_new_endpoints(project, folder)
    with sole_user(folder):
        (folder / SERVER_FILE).unlink(missing_ok=True)
        try:
            run(_serve(project, folder, host, port, access, ready, until))
        finally:
            (folder / SERVER_FILE).unlink(missing_ok=True)


async def _serve(
    project: Project,
    folder: Path,
    host: str,
    port: int | None,
    access: AccessRules,
    ready: Callable[[str], None],
    until: Until,
) -> None:
    def listening(actual: int) -> None:
        replace_file(folder / SERVER_FILE, orjson.dumps({"url": _url_here(host, actual), "pid": os.getpid()}))
        url = _url(host, actual)
        _log.info("ready", extra={"url": url})
        ready(url)

    rules, settings = project.predict.endpoints, project.predict.serve
    serving = Serving(
        Registry(folder),
        guards={rule.name: Guard(rule.least_calls, rule.max_error_rise, rule.max_latency_ratio) for rule in rules},
        refuse_unknown=[rule.name for rule in rules if rule.unknown == "refuse"],
    )
    await serve(
        serving,
        host=host,
        port=settings.port if port is None else port,
        limits=Limits(settings.max_body, settings.memory, settings.request_timeout),
        access=access,
        control=Control(serving, TrainingJobs(folder / "jobs"), folders_of(project)),
        ready=listening,
        until=until,
    )


def _url(host: str, port: int) -> str:
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _url_here(host: str, port: int) -> str:
    """Where a client on this machine finds the server: what listens at every address is found at a loopback one."""
    with suppress(ValueError):
        address = ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return _url(host, port)
