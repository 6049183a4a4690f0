"""``whimbrel console``: the page to watch and steer a migration."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from whimbrel.cli.options import guarded, json_option, project_option


@click.command()
@project_option
@json_option
@click.option("--port", type=int, default=0, help="The port; a free one if not given.")
@click.option("--read-only", is_flag=True, help="Look only: nothing can be started or changed from the page.")
@guarded
def console(project_file: Path, as_json: bool, port: int, read_only: bool) -> int:
    """Show a page to watch and steer the migration, on this machine alone, until stopped by a signal.

    It prints a link that opens one browser. A new one is printed when it has been used.
    """
    from whimbrel.cli.frame import OK, keep_log, say_json
    from whimbrel.cli.options import optional_project
    from whimbrel.cli.stopping import signalled
    from whimbrel.console.server import serve_console, until_set
    from whimbrel.lake.need import need
    from whimbrel.migration.state import StateFolder

    need("httptools", "serve")
    project = optional_project(project_file)
    keep_log(StateFolder(project.state).run_log)

    def ready(link: str) -> None:
        say_json({"event": "link", "url": link}) if as_json else click.echo(f"Open {link}  (Ctrl-C ends it)")
        sys.stdout.flush()

    with signalled() as stop:
        serve_console(
            project,
            lambda: optional_project(project_file),
            port=port,
            read_only=read_only,
            ready=ready,
            until=until_set(stop),
        )
    return OK
