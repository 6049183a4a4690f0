"""What a running migration shows to Prometheus, and that the page, the alert rules and the dashboard name just that."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from pathlib import Path
from urllib.request import urlopen

import pytest

from demo.from_debian import PROMETHEUS, Unavailable
from whimbrel.errors import ProjectError, UserError
from whimbrel.migration.metrics import measured
from whimbrel.migration.progress import Progress, TableCounts
from whimbrel.project import NO_SOURCE, MetricsAddress, Project, Target, load_project

parser = pytest.importorskip("prometheus_client.parser", reason="the extra 'metrics' is not installed")

DOCS = Path(__file__).parents[2] / "docs"
ALERTS, DASHBOARD = DOCS / "examples" / "alerts.yml", DOCS / "examples" / "dashboard.json"
WORD = re.compile(r"whimbrel_[a-z_]+")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def project(port: int) -> Project:
    target = Target(max_write_units=500.0)
    return Project(Path("whimbrel.toml"), Path(".whimbrel"), NO_SOURCE, target, (), metrics=MetricsAddress(port))


def everything() -> Progress:
    tables = {'shop."a\n{b}"': TableCounts(100, 90, 80, 70, 6_000), "shop.b": TableCounts(1, 1, 1, 1, 1)}
    progress = Progress("load", tables=tables, captured=12, applied=5, dead=3, held=2, write_units=41.5, throttles=7)
    progress.source_threads, progress.reconnects, progress.applied_time, progress.asked = 4, 1, 1.0, 1.0
    return progress


def test_the_figures_are_those_of_the_run_at_the_moment(tmp_path: Path) -> None:
    port, progress = free_port(), everything()
    with measured(project(port), progress):
        first = read(port)
        progress.captured = 13
        second = read(port)
    assert first["whimbrel_changes_captured_total", ""] == 12
    assert second["whimbrel_changes_captured_total", ""] == 13
    assert first["whimbrel_lag_changes", ""] == 7
    assert first["whimbrel_write_units_total", ""] == 41.5
    assert first["whimbrel_write_units_cap", ""] == 500
    assert first["whimbrel_table_rows_loaded_total", 'shop."a\n{b}"'] == 80
    assert (first["whimbrel_phase", "load"], first["whimbrel_phase", "apply"]) == (1, 0)
    with pytest.raises(OSError, match="refused"):
        read(port)


def test_an_address_that_is_taken_is_an_error_of_the_project_file() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = measured(project(taken.getsockname()[1]), Progress())
        with pytest.raises(UserError, match="cannot listen at"), busy:
            pass


def test_without_a_port_nothing_listens() -> None:
    with measured(project(0), Progress()):
        pass


def test_what_is_wrong_with_the_section_is_said(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text('[metrics]\nport = 65536\nhost = ""\n')
    with pytest.raises(ProjectError, match=r"metrics\.port: must be 65535 or less(.|\n)*metrics\.host: must be an add"):
        load_project(file)


def test_the_page_names_all_of_it_and_nothing_else() -> None:
    page = (DOCS / "metrics.md").read_text().partition("## Of a migration\n")[2].partition("\n## ")[0]
    assert set(WORD.findall(page)) == shown()


def test_alerts_and_dashboard_name_nothing_else() -> None:
    expressions = re.findall(r"expr: (.*)", ALERTS.read_text())
    assert len(expressions) > 4
    assert set(WORD.findall(" ".join(expressions))) <= shown()
    board = json.loads(DASHBOARD.read_text())
    asked = [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(asked) > 10
    assert set(WORD.findall(" ".join(asked))) <= shown()
    assert {label for each in asked for label in re.findall(r"\b(phase|table)=", each)} <= {"phase", "table"}


def test_prometheus_itself_takes_the_rules() -> None:
    try:
        promtool = PROMETHEUS.command()
    except Unavailable as reason:
        pytest.skip(str(reason))
    command = [*promtool, "check", "rules", str(ALERTS)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(re.findall('alert:', ALERTS.read_text()))} rules found" in done.stdout


def read(port: int) -> dict[tuple[str, str], float]:
    """By name, and the value of the only label."""
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        families = list(parser.text_string_to_metric_families(answer.read().decode()))
    samples = [sample for family in families for sample in family.samples]
    return {(each.name, next(iter(each.labels.values()), "")): each.value for each in samples}


def shown() -> set[str]:
    port = free_port()
    with measured(project(port), everything()):
        return {name for name, _ in read(port) if not name.endswith("_created")}
