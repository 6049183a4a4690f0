"""Prometheus itself scrapes a run, answers the dashboard's queries and fires the alerts; Grafana's own model reads the
dashboard.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

from demo.from_debian import PROMETHEUS, Unavailable
from tests.console.test_metrics import ALERTS, DASHBOARD, everything, free_port, project
from whimbrel.migration.metrics import measured

pytest.importorskip("prometheus_client", reason="the extra 'metrics' is not installed")

BOARD: dict[str, Any] = json.loads(DASHBOARD.read_text())
JOB = 'job="whimbrel",instance="a"'
SCRAPE = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: whimbrel
    static_configs: [{{targets: ["127.0.0.1:{port}"]}}]
"""
# What each alert is about: its series, a value each minute for half an hour, when it is so and when it is not.
FIRES = {
    "WhimbrelIsNotRunning": ({"up": "0x30"}, {"up": "1x30"}),
    "WhimbrelSourceDoesNotAnswer": (
        {"whimbrel_source_answered_seconds": "0+60x30"},
        {"whimbrel_source_answered_seconds": "2x30"},
    ),
    "WhimbrelTargetTakesNoWrites": (
        {"whimbrel_target_refused_seconds": "0+60x30"},
        {"whimbrel_target_refused_seconds": "0x30"},
    ),
    "WhimbrelFarBehind": ({"whimbrel_lag_seconds": "301x30"}, {"whimbrel_lag_seconds": "299x30"}),
    "WhimbrelFallsBehind": (
        {
            "whimbrel_changes_captured_total": "0+6000x30",
            "whimbrel_changes_applied_total": "0+600x30",
            "whimbrel_lag_changes": "10001x30",
            'whimbrel_phase{phase="apply"}': "1x30",
        },
        {
            "whimbrel_changes_captured_total": "0+6000x30",
            "whimbrel_changes_applied_total": "0+600x30",
            "whimbrel_lag_changes": "10001x30",
            'whimbrel_phase{phase="load"}': "1x30",
        },
    ),
    "WhimbrelDeadLetters": ({"whimbrel_dead_letters": "1x30"}, {"whimbrel_dead_letters": "0x30"}),
    "WhimbrelThrottled": (
        {"whimbrel_write_throttles_total": "0+120x30"},
        {"whimbrel_write_throttles_total": "0+30x30"},
    ),
}


def command(program: str) -> list[str]:
    try:
        return replace(PROMETHEUS, program=f"usr/bin/{program}").command()
    except Unavailable as reason:
        pytest.skip(str(reason))


def test_every_alert_is_tried() -> None:
    text = ALERTS.read_text()
    assert text.count("- alert: ") == len(FIRES)
    assert all(f"- alert: {name}\n" in text for name in FIRES)


def test_each_alert_fires_when_it_should_and_only_then(tmp_path: Path) -> None:
    tests = []
    for name, cases in FIRES.items():
        for series, firing in zip(cases, (True, False), strict=True):
            tests.append(
                {
                    "interval": "1m",
                    "name": f"{name}: {firing}",
                    "input_series": [{"series": labelled(each), "values": of} for each, of in series.items()],
                    "promql_expr_test": [
                        {
                            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                            "eval_time": "29m",
                            "exp_samples": [{"labels": "{}", "value": 1}] if firing else [],
                        }
                    ],
                }
            )
    file = tmp_path / "test.yml"
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run(
        [*command("promtool"), "test", "rules", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def labelled(name: str) -> str:
    return f"{name[:-1]},{JOB}}}" if name.endswith("}") else f"{name}{{{JOB}}}"


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; it has scraped a run that moves, a few times."""
    folder, scraped, port = tmp_path_factory.mktemp("prometheus"), free_port(), free_port()
    (folder / "prometheus.yml").write_text(SCRAPE.format(rules=ALERTS, port=scraped))
    options = [f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    options += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=error"]
    progress = everything()
    with measured(project(scraped), progress), (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command("prometheus"), *options], stdout=log, stderr=log)
        try:
            url, end = f"http://127.0.0.1:{port}/api/v1", time.monotonic() + 60
            while not asked(url, "query", query="rate(whimbrel_changes_captured_total[30s])"):
                assert process.poll() is None, (folder / "log").read_text()
                assert time.monotonic() < end, (folder / "log").read_text()
                progress.captured += 10
                time.sleep(0.2)
            yield url
        finally:
            process.terminate()
            process.wait(30)


def asked(url: str, path: str, **given: str) -> Any:
    """The result of a query, or what else is there; None while Prometheus is not there yet."""
    try:
        with urlopen(f"{url}/{path}?{urlencode(given)}", timeout=10) as answer:
            found = json.load(answer)
    except URLError as error:
        if hasattr(error, "read"):
            raise AssertionError(error.read()) from None
        return None
    assert found["status"] == "success", found
    return found["data"]["result"] if path == "query" else found["data"]


@pytest.mark.slow
def test_every_query_of_the_dashboard_has_an_answer(prometheus: str) -> None:
    variables = {each["name"]: each for each in BOARD["templating"]["list"]}
    assert variables["datasource"]["query"] == "prometheus"
    assert variables["instance"]["query"] == "label_values(whimbrel_phase, instance)"
    [instance] = asked(prometheus, "label/instance/values", **{"match[]": "whimbrel_phase"})
    for panel in BOARD["panels"]:
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            query = target["expr"].replace("$instance", instance).replace("$__rate_interval", "30s")
            assert "$" not in query
            assert asked(prometheus, "query", query=query), f"{panel['title']}: nothing for {query}"


@pytest.mark.slow
def test_it_evaluates_the_rules(prometheus: str) -> None:
    [group] = asked(prometheus, "rules")["groups"]
    assert {each["name"] for each in group["rules"]} == set(FIRES)
    end = time.monotonic() + 30
    while not all(each["health"] == "ok" for each in asked(prometheus, "rules")["groups"][0]["rules"]):
        assert time.monotonic() < end, asked(prometheus, "rules")
        time.sleep(0.2)
    assert asked(prometheus, "query", query='up{job="whimbrel"}')[0]["value"][1] == "1"


def test_grafanas_own_model_knows_all_of_the_dashboard() -> None:
    """What it did not know would be gone when it is written again."""
    model = pytest.importorskip("grafana_foundation_sdk.models.dashboard", reason="not installed")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder").JSONEncoder
    again = json.loads(encoder().encode(model.Dashboard.from_json(BOARD)))
    assert holds(again, BOARD)
    assert [each["type"] for each in again["panels"]] == [each["type"] for each in BOARD["panels"]]
    identities = [each["id"] for each in BOARD["panels"]]
    assert len(identities) == len(set(identities))


def holds(whole: Any, part: Any) -> bool:
    """Whether ``whole`` has all of ``part``, the same; it may have more defaults."""
    if isinstance(part, dict):
        return all(name in whole and holds(whole[name], value) for name, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(holds, whole, part))
    return bool(whole == part)
