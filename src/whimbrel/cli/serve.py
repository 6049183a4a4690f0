"""``whimbrel serve``, ``whimbrel predict`` and ``whimbrel endpoint …``."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from dataclasses import asdict, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import click
import orjson

from whimbrel.cli.access import access_of, control_keys, folders_of, predict_keys
from whimbrel.cli.frame import OK, closed, keep_log, say_json
from whimbrel.cli.stopping import FAILED
from whimbrel.cli.train import models_folder
from whimbrel.durable import replace_file
from whimbrel.errors import TargetUnreachable, UserError
from whimbrel.prediction.model.unknown import HEADER
from whimbrel.prediction.serve.access import Access
from whimbrel.prediction.serve.deploy import SERVER_FILE, Deployment, client_for, deploy, deployment_config, server_url
from whimbrel.prediction.serve.registry import Registry, sole_user
from whimbrel.prediction.serve.rollout import Guard, stages
from whimbrel.project import FILE_NAME, NO_SOURCE, Project, Target, load_project
from whimbrel.project.endpoint import EndpointRule, Serve

_UNKNOWN = "whimbrel: categories that training never saw, scored as other"


def registry_folder(project: Project) -> Path:
    """Where the project's endpoints are kept."""
    return project.state / "serve"


def project_or_none(path: Path) -> Project:
    """The project; where there is no file of the usual name, one without settings: a model file alone can be served."""
    if path == Path(FILE_NAME) and not path.exists():
        return closed(Project(path=path, state=Path(".whimbrel"), source=NO_SOURCE, target=Target(), tables=()))
    return closed(load_project(path))


def rule_for(project: Project, name: str) -> EndpointRule:
    """The project's rule for an endpoint, or the usual one, with the place of its captured data made plain."""
    rules = {rule.name: rule for rule in project.predict.endpoints}
    rule = rules.get(name, EndpointRule(name=name, model=name))
    return replace(rule, capture_folder=str(_below(project, rule.capture_folder or "capture")))


def serve(project: Project, as_json: bool, host: str, port: int | None, model: Path | None, endpoint: str) -> int:
    """Serve the project's endpoints until a signal; with ``model``, deploy it first."""
    _need_the_extra()
    host = host or project.predict.serve.host
    access = access_of(project)
    access.check(host)
    folder = registry_folder(project)
    if model:
        deploy(folder, rule_for(project, endpoint or only_endpoint(project)), model)
    deploy_new_endpoints(project, folder)
    with sole_user(folder):
        return _serve(project, folder, as_json, host, port, access)


def deploy_new_endpoints(project: Project, folder: Path) -> None:
    """An endpoint of the project that is not there yet begins with its model's newest version, where there is one."""
    there = Registry(folder).state.endpoints
    for rule in project.predict.endpoints:
        files = sorted(models_folder(project, rule.model).glob("*/model.json"))  # a version begins with its time
        if rule.name not in there and files:
            deploy(folder, rule_for(project, rule.name), files[-1])


def update(project: Project, as_json: bool, endpoint: str, model: Path, *, dry_run: bool, at_once: bool) -> int:
    """Put a model file behind an endpoint; FAILED when it was taken back."""
    rule = rule_for(project, endpoint)
    if at_once:
        rule = replace(rule, traffic="ALL_AT_ONCE", wait=0, bake=0)
    if dry_run:
        plan = [f"{stage.share:.0%} of the calls for {stage.seconds:g} s" for stage in stages(deployment_config(rule))]
        click.echo(f"would load and check {model}, then give it {', then '.join(plan)}")
        return OK
    done = deploy(registry_folder(project), rule, model, control_keys(project))
    say_json(asdict(done)) if as_json else click.echo(_said(done))
    return OK if done.live else FAILED


def status(project: Project, as_json: bool) -> int:
    """Say what every endpoint answers with."""
    state = Registry(registry_folder(project)).state
    found: list[dict[str, Any]] = []
    for endpoint in state.endpoints.values():
        variants = [
            {
                "variant": each.name,
                "weight": endpoint.weights.get(each.name, each.weight),
                "model": each.model,
                "version": state.models[each.model].version,
                "metrics": state.models[each.model].metrics,
            }
            for each in state.configs[endpoint.config].all_variants
        ]
        found.append(
            {"endpoint": endpoint.name, "status": endpoint.status, "reason": endpoint.reason} | {"variants": variants}
        )
    if as_json:
        say_json({"endpoints": found})
        return OK
    for each in found:
        click.echo(f"{each['endpoint']}  {each['status']}" + (f"  ({each['reason']})" if each["reason"] else ""))
        for variant in each["variants"]:
            click.echo(f"  {variant['variant']}  weight {variant['weight']:g}  version {variant['version']}")
    if not found:
        click.echo("There is no endpoint yet. Make one with: whimbrel serve --model FILE")
    return OK


def weights(project: Project, as_json: bool, endpoint: str, wanted: tuple[str, ...]) -> int:
    """Give each VARIANT=WEIGHT its weight, live."""
    pairs = [each.partition("=") for each in wanted]
    try:
        shares = [{"VariantName": name, "DesiredWeight": float(value)} for name, _, value in pairs]
    except ValueError as error:
        raise UserError(str(error), place="weights", hint="Write VARIANT=WEIGHT.") from None
    client = client_for(server_url(registry_folder(project)), "sagemaker", control_keys(project))
    change = client.update_endpoint_weights_and_capacities
    _called(change, EndpointName=endpoint, DesiredWeightsAndCapacities=shares)
    return status(project, as_json)


def predict(project: Project, endpoint: str, model: Path | None, rows: tuple[str, ...]) -> int:
    """Print the predictions for rows of CSV, of the arguments or of standard input, as SageMaker would answer."""
    body = ("\n".join(rows) if rows else sys.stdin.read()).encode("utf-8", "surrogateescape")
    click.echo(_by_file(project, endpoint, model, body) if model else _by_server(project, endpoint, body))
    return OK


def _by_server(project: Project, endpoint: str, body: bytes) -> str:
    client = client_for(server_url(registry_folder(project)), "sagemaker-runtime", predict_keys(project))
    name = endpoint or only_endpoint(project)
    answer = _called(client.invoke_endpoint, EndpointName=name, Body=body, ContentType="text/csv")
    if unknown := answer["ResponseMetadata"]["HTTPHeaders"].get(HEADER):
        click.echo(f"{_UNKNOWN}: {unknown}", err=True)
    return str(answer["Body"].read().decode())


def _by_file(project: Project, endpoint: str, model: Path, body: bytes) -> str:
    from whimbrel.prediction.model.model import load_model
    from whimbrel.prediction.serve.served import Call, Served

    refuse = any(rule.unknown == "refuse" for rule in project.predict.endpoints if rule.name == endpoint)
    answer = Served("model", load_model(model)).answer(Call(body, "text/csv", "", refuse))
    if answer.status != 200:
        raise UserError(answer.body.decode())
    if answer.unknown:
        click.echo(f"{_UNKNOWN}: {answer.unknown}", err=True)
    return answer.body.decode()


def _called(operation: Any, **given: Any) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        return operation(**given)
    except ClientError as error:
        response: dict[str, Any] = dict(error.response)
        raise UserError(response.get("OriginalMessage") or response["Error"]["Message"]) from None
    except BotoCoreError as error:
        raise TargetUnreachable(str(error), hint="Is the server running? Start it with: whimbrel serve") from None


def _serve(project: Project, folder: Path, as_json: bool, host: str, port: int | None, access: Access) -> int:
    from whimbrel.prediction.serve.listener import Limits
    from whimbrel.prediction.serve.server import run
    from whimbrel.prediction.serve.server import serve as serve_until_stopped
    from whimbrel.prediction.serve.serving import Serving

    keep_log(folder / "serve.log")
    settings: Serve = project.predict.serve
    guards = {rule.name: _guard(rule) for rule in project.predict.endpoints}
    refusing = [rule.name for rule in project.predict.endpoints if rule.unknown == "refuse"]

    def ready(actual: int) -> None:
        url = f"http://{f'[{host}]' if ':' in host else host}:{actual}"
        replace_file(folder / SERVER_FILE, orjson.dumps({"url": url_here(host, actual), "pid": os.getpid()}))
        logging.getLogger("whimbrel.serve").info("ready", extra={"url": url})
        say_json({"event": "ready", "url": url}) if as_json else click.echo(f"Serving at {url}  (Ctrl-C ends it)")
        sys.stdout.flush()

    async def main() -> None:
        limits = Limits(settings.max_body, settings.memory, settings.request_timeout)
        await serve_until_stopped(
            Serving(Registry(folder), guards=guards, folders=folders_of(project), refuse_unknown=refusing),
            host=host,
            port=settings.port if port is None else port,
            limits=limits,
            access=access,
            ready=ready,
        )

    (folder / SERVER_FILE).unlink(missing_ok=True)
    try:
        run(main())
    finally:
        (folder / SERVER_FILE).unlink(missing_ok=True)
    return OK


def url_here(host: str, port: int) -> str:
    """Where a client on this machine finds the server: what listens at every address is found at a loopback one."""
    with suppress(ValueError):
        address = ip_address(host)
        if address.is_unspecified:
            host = "127.0.0.1" if address.version == 4 else "::1"
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def _guard(rule: EndpointRule) -> Guard:
    return Guard(rule.least_calls, rule.max_error_rise, rule.max_latency_ratio)


def only_endpoint(project: Project) -> str:
    """The endpoint that is meant where none is named. Raises UserError where there are several."""
    names = [rule.name for rule in project.predict.endpoints] or list(
        Registry(registry_folder(project)).state.endpoints
    )
    if len(names) > 1:
        raise UserError(f"there are several: {', '.join(names)}", place="endpoint", hint="Name one.")
    return names[0] if names else "ServiceEndpoint"


def _below(project: Project, folder: str) -> Path:
    return (project.path.parent / folder if folder != "capture" else project.state / folder).absolute()


def _need_the_extra() -> None:
    try:
        import httptools  # noqa: F401
    except ImportError:
        raise UserError("httptools is not installed", hint="Install it with: pip install 'whimbrel[serve]'") from None


def _said(done: Deployment) -> str:
    if done.live:
        return f"{done.endpoint} answers with version {done.version}"
    return f"{done.endpoint} was not updated to version {done.version}: {done.reason}"
