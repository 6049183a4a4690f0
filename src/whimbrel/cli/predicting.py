"""The commands of predictions: train, renew, schedule, drift, serve, predict and endpoint."""

from __future__ import annotations

from pathlib import Path

import click

from whimbrel.cli.options import (
    dry_run_option,
    guarded,
    json_option,
    named_project,
    optional_project,
    project_option,
    text_option,
)
from whimbrel.project.renew import STEPS


@click.command()
@project_option
@json_option
@dry_run_option
@text_option("--model", "name", help="Only this model of the project.")
@click.option(
    "--data",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A CSV or Parquet file with a header, instead of the model's data set.",
)
@guarded
def train(project_file: Path, as_json: bool, dry_run: bool, name: str, data: Path | None) -> int:
    """Train the project's models, and write for each a model file and a report."""
    from whimbrel.cli import train as training

    return training.train(named_project(project_file), as_json, name, data, dry_run=dry_run)


@click.command()
@project_option
@json_option
@dry_run_option
@text_option("--model", "name", help="Only this model of the project.")
@click.option("--abort", is_flag=True, help="End its training jobs on SageMaker, and the renewal that is under way.")
@click.option("--step", type=click.Choice(STEPS), help="Only this step, as the state machine of the template runs it.")
@text_option("--execution", help="What runs the steps one by one: it alone continues its renewal.")
@guarded
def renew(
    project_file: Path, as_json: bool, dry_run: bool, name: str, abort: bool, step: str | None, execution: str
) -> int:
    """Export, convert, train and compare once; update the endpoint unless the new model is worse. Can be resumed."""
    from whimbrel.cli import renew as renewing

    if abort:
        return renewing.abort(named_project(project_file), as_json, name)
    if step:
        return renewing.step(named_project(project_file), as_json, name, step, execution)
    return renewing.renew(named_project(project_file), as_json, name, dry_run=dry_run)


@click.command()
@project_option
@json_option
@guarded
def schedule(project_file: Path, as_json: bool) -> int:
    """Renew by the cron expressions of the project, until stopped by a signal."""
    from whimbrel.cli import renew as renewing

    return renewing.schedule(named_project(project_file), as_json)


@click.command()
@project_option
@json_option
@text_option("--endpoint", help="This endpoint; needed where there are several.")
@text_option("--since", help="Only calls from this time on, as 2026-01-31T12:00:00Z.")
@guarded
def drift(project_file: Path, as_json: bool, endpoint: str, since: str) -> int:
    """Report how far captured calls and their scores have drifted from the training data of the model in service."""
    from whimbrel.cli import serve as serving

    return serving.drift(optional_project(project_file), as_json, endpoint, since)


model_option = click.option(
    "--model", "model_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="A model file."
)


@click.command()
@project_option
@json_option
@text_option("--host", help="The address to listen at; 127.0.0.1 unless the project file says another.")
@click.option("--port", type=int, help="The port; 8080 unless the project file says another, 0 for a free one.")
@model_option
@text_option("--endpoint", help="The endpoint for --model; needed where the project has several.")
@guarded
def serve(
    project_file: Path, as_json: bool, host: str, port: int | None, model_file: Path | None, endpoint: str
) -> int:
    """Answer predictions over HTTP, as a SageMaker endpoint does, until stopped by a signal."""
    from whimbrel.cli import serve as serving

    return serving.serve(optional_project(project_file), as_json, host, port, model_file, endpoint)


@click.command()
@project_option
@text_option("--endpoint", help="Ask this endpoint of the running server.")
@model_option
@click.argument("rows", nargs=-1)
@guarded
def predict(project_file: Path, endpoint: str, model_file: Path | None, rows: tuple[str, ...]) -> int:
    """Predict for ROWS of CSV (or standard input), by the running server or by a model file itself."""
    from whimbrel.cli import serve as serving

    return serving.predict(optional_project(project_file), endpoint, model_file, rows)


@click.group()
def endpoint() -> None:
    """Manage endpoints. Changes apply at once if the server is running."""


@endpoint.command(name="status")
@project_option
@json_option
@guarded
def endpoint_status(project_file: Path, as_json: bool) -> int:
    """Show which models every endpoint serves."""
    from whimbrel.cli import serve as serving

    return serving.status(optional_project(project_file), as_json)


@endpoint.command(name="update")
@project_option
@json_option
@dry_run_option
@click.argument("name")
@click.option("--model", "model_file", type=click.Path(path_type=Path, exists=True, dir_okay=False), required=True)
@click.option("--at-once", is_flag=True, help="Move all traffic at once, without a trial on a share of it.")
@guarded
def endpoint_update(
    project_file: Path, as_json: bool, dry_run: bool, name: str, model_file: Path, at_once: bool
) -> int:
    """Deploy a model file to endpoint NAME, creating it if needed. Rolls back if the new model does worse."""
    from whimbrel.cli import serve as serving

    project = optional_project(project_file)
    return serving.update(project, as_json, name, model_file, dry_run=dry_run, at_once=at_once)


@endpoint.command(name="weights")
@project_option
@json_option
@click.argument("name")
@click.argument("weights", nargs=-1, required=True)
@guarded
def endpoint_weights(project_file: Path, as_json: bool, name: str, weights: tuple[str, ...]) -> int:
    """Change the shares of endpoint NAME's variants live: VARIANT=WEIGHT …"""
    from whimbrel.cli import serve as serving

    return serving.weights(optional_project(project_file), as_json, name, weights)
