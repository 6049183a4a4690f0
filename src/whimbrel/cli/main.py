"""The command line: its commands, each of which is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click

import whimbrel


class _Declared(NamedTuple):
    """Where a command is declared, and the first sentence of its help: to show it takes no import."""

    module: str
    help: str


_DECLARED = {
    "apply": _Declared("migrating", "Run only the apply step: apply the change log to the target."),
    "aws": _Declared("aws", "Write what the project needs on AWS: template and package (docs/aws.md)."),
    "capture": _Declared(
        "migrating",
        "Run only the capture step: write every change to the change log, from a position fixed at the first start.",
    ),
    "check": _Declared("migrating", "Report what will happen, and what would go wrong, before anything is moved."),
    "console": _Declared(
        "console", "Show a page to watch and steer the migration, on this machine alone, until stopped by a signal."
    ),
    "converge": _Declared(
        "converging",
        "Load all silos into the warehouse, write their changes until it has caught up, then keep following them.",
    ),
    "convert": _Declared("lake", "Make TABLE's exports a typed data set in Parquet."),
    "cutover": _Declared("handover", "Move writes from the source to DynamoDB: close, drain, prove, decide, open."),
    "design": _Declared(
        "migrating",
        "Propose a design for the tables at URL that serves the application's statements, as a commented project file.",
    ),
    "drift": _Declared(
        "predicting",
        "Report how far captured calls and their scores have drifted from the training data of the model in service.",
    ),
    "endpoint": _Declared("predicting", "Manage endpoints. Changes apply at once if the server is running."),
    "export": _Declared(
        "lake",
        "Export TABLE in the native layout: whole the first time, then what changed since the last export.",
    ),
    "finish": _Declared("handover", "Give up the way back, and remove what whimbrel made for it."),
    "init": _Declared(
        "migrating",
        "Write a commented project file from the live schema at mysql://user@host:port/database.",
    ),
    "load": _Declared("migrating", "Run only the load step: write the exported files to the target."),
    "migrate": _Declared("migrating", "Run all steps until the target has caught up, then keep following the source."),
    "predict": _Declared(
        "predicting",
        "Predict for ROWS of CSV (or standard input), by the running server or by a model file itself.",
    ),
    "preview": _Declared(
        "migrating",
        "Print some real rows and the items that they become, with their sizes and write units.",
    ),
    "query": _Declared(
        "lake",
        "Ask SQL of the data sets, each by its name. Without SQL, a shell with history and completion.",
    ),
    "refill": _Declared(
        "migrating",
        "Rewrite every item of TABLE from its current rows (for example after ALTER TABLE … ADD COLUMN … DEFAULT).",
    ),
    "renew": _Declared(
        "predicting",
        "Export, convert, train and compare once; update the endpoint unless the new model is worse. Can be resumed.",
    ),
    "restore": _Declared("lake", "Rebuild TABLE from its exports: every item as it was."),
    "retry-dead": _Declared("migrating", "Retry dead letters: read each row from the source again, and map it again."),
    "rollback": _Declared("handover", "Return writes to the source, with all that was written at DynamoDB since."),
    "schedule": _Declared("predicting", "Renew by the cron expressions of the project, until stopped by a signal."),
    "serve": _Declared(
        "predicting",
        "Answer predictions over HTTP, as a SageMaker endpoint does, until stopped by a signal.",
    ),
    "snapshot": _Declared("migrating", "Run only the snapshot step: export the tables to files."),
    "status": _Declared("migrating", "Show migration progress."),
    "train": _Declared("predicting", "Train the project's models, and write for each a model file and a report."),
    "verify": _Declared("migrating", "Compare source and target in full, while both are live."),
}


class _Commands(Mapping[str, click.Command]):
    """The commands by their names."""

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"{__package__}.{_DECLARED[name].module}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_DECLARED)

    def __len__(self) -> int:
        return len(_DECLARED)


class _Main(click.Group):
    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings, commands=_Commands())  # type: ignore[arg-type]  # which never change

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """As click has it, without the commands."""
        limit = formatter.width - 6 - max(map(len, _DECLARED))
        with formatter.section("Commands"):
            shown = {name: click.Command(name, help=each.help) for name, each in _DECLARED.items()}
            formatter.write_dl([(name, each.get_short_help_str(limit)) for name, each in shown.items()])


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(whimbrel.__version__, prog_name="whimbrel")
def main() -> None:
    """Move the live data of a MySQL or MariaDB application into Amazon DynamoDB, without stopping it.

    \b
    Exit codes: 0 done · 1 a bug in whimbrel · 2 an error in the project file or command line
                3 the source, the target or the state folder failed · 4 done, but there are dead letters
                5 the two sides differ · 130 stopped by a signal: the same command continues
    """
