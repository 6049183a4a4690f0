"""The parts of serving on their own: the verdict over a trial, the registry, figures, metrics, who may control."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.prediction.serve.conftest import Running
from tests.prediction.serve.models import ROW
from whimbrel.errors import StateError, UserError
from whimbrel.prediction.serve.figures import BOUNDS, SECONDS, Figures, Window, quantile_of
from whimbrel.prediction.serve.registry import (
    IN_SERVICE,
    UPDATING,
    DataCapture,
    EndpointConfig,
    Registry,
    State,
    StoredEndpoint,
    StoredModel,
    Variant,
    checked_name,
)
from whimbrel.prediction.serve.rollout import Guard, Stage, stages, verdict
from whimbrel.project import load_project

# -- trials


def figures(calls: int, errors: int = 0, faults: int = 0, seconds: float = 0.0001) -> Window:
    made = Figures()
    for number in range(calls):
        made.record(0.0, seconds, seconds, 500 if number < faults else 400 if number < errors else 200, 1)
    return made.window()


VERDICTS = {
    "as good as before": (figures(100), figures(100), 0, ""),
    "too few calls to say": (figures(100), figures(10), 2, ""),
    "three say enough": (figures(100), figures(10), 3, "3 of 10 calls failed"),
    "one of many": (figures(1000), figures(1000), 1, ""),
    "more of many": (figures(1000), figures(1000), 11, "11 of 1000 calls failed"),
    "callers' mistakes": (figures(100, errors=2), figures(100, errors=10), 0, ""),
    "slower": (figures(100), figures(100, seconds=0.03), 0, "9 of 10 calls took up to 50 ms, and 0.1 ms before"),
    "slower, but quick": (figures(100, seconds=0.0001), figures(100, seconds=0.001), 0, ""),
    "slow as before": (figures(100, seconds=0.03), figures(100, seconds=0.03), 0, ""),
    "slow, with nothing to compare": (figures(3), figures(100, seconds=0.03), 0, ""),
}


@pytest.mark.parametrize(("old", "new", "losses", "expected"), VERDICTS.values(), ids=VERDICTS)
def test_the_verdict_over_a_trial(old: Window, new: Window, losses: int, expected: str) -> None:
    found = verdict(old, new, losses, Guard())
    assert expected in found
    assert bool(found) == bool(expected)


def policy(**routing: Any) -> dict[str, Any]:
    wait = {"WaitIntervalInSeconds": 10}
    return {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": wait | routing, "TerminationWaitInSeconds": 7}}


def size(percent: int) -> dict[str, Any]:
    return {"Type": "CAPACITY_PERCENT", "Value": percent}


def test_stages_are_those_of_the_deployment_config() -> None:
    assert stages({}) == (Stage(1.0, 0.0),)
    assert stages(policy(Type="ALL_AT_ONCE")) == (Stage(1.0, 7.0),)
    assert stages(policy(Type="CANARY", CanarySize=size(20))) == (Stage(0.2, 10.0), Stage(1.0, 7.0))
    linear = stages(policy(Type="LINEAR", LinearStepSize=size(30)))
    assert [round(each.share, 6) for each in linear] == [0.3, 0.6, 0.9, 1.0]
    halves = stages(policy(Type="LINEAR", LinearStepSize=size(50)))
    assert [each.share for each in halves] == [0.5, 1.0]


WRONG = {
    "too large": policy(Type="CANARY", CanarySize=size(60)),
    "too small": policy(Type="LINEAR", LinearStepSize=size(5)),
    "instances": policy(Type="CANARY", CanarySize={"Type": "INSTANCE_COUNT", "Value": 1}),
    "another type": policy(Type="SUDDEN"),
    "rolling": {"RollingUpdatePolicy": {}},
}


@pytest.mark.parametrize("deployment", WRONG.values(), ids=WRONG)
def test_a_deployment_that_cannot_be_done_is_refused(deployment: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        stages(deployment)


# -- figures


@given(st.lists(st.floats(1e-6, 4.9), min_size=1, max_size=200), st.sampled_from([0.5, 0.9, 0.99]))
def test_a_quantile_is_the_bound_of_its_bucket(seconds: list[float], quantile: float) -> None:
    made = Figures()
    for each in seconds:
        made.record(0.0, each, each, 200, 1)
    exact = sorted(seconds)[min(len(seconds) - 1, int(len(seconds) * quantile))]
    found = made.window().latency(quantile)
    assert found in BOUNDS
    assert sum(each <= found for each in seconds) >= len(seconds) * quantile
    assert found <= next(bound for bound in BOUNDS if bound >= exact)
    assert quantile_of([0] * 16, quantile) == 0.0


def test_the_last_seconds_are_those_seconds() -> None:
    made = Figures()
    for second in range(300):
        for _ in range(second % 3):
            made.record(second + 0.5, 0.001, 0.001, 200, 1)
    assert [each.calls for each in made.last(300.2, SECONDS)] == [second % 3 for second in range(180, 300)]
    assert [each.calls for each in made.last(1000.0, 10)] == [0] * 10


# -- the registry


def a_state() -> State:
    model = StoredModel("m", "models/m.json", "v1", "/x/m.json", 1.0, "2026", "binary", "linear", {"auc": 0.9})
    config = EndpointConfig("c", (Variant("A", "m", 2.0),), 1.0, Variant("S", "m"), DataCapture(10, "/x"))
    endpoint = StoredEndpoint("e", "c", IN_SERVICE, 1.0, 2.0, weights={"A": 3.0}).now("InService")
    return State().with_model(model).with_config(config).with_endpoint(endpoint)


def test_a_state_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = a_state()
    Registry(tmp_path).change(lambda _: state)
    assert Registry(tmp_path).state == state


def test_what_was_being_updated_serves_as_before(tmp_path: Path) -> None:
    state = a_state()
    updating = replace(state.endpoints["e"], status=UPDATING, pending="d")
    Registry(tmp_path).change(lambda _: state.with_endpoint(updating))
    registry = Registry(tmp_path)
    registry.settle()
    found = Registry(tmp_path).state.endpoints["e"]
    assert (found.status, found.config, found.pending) == (IN_SERVICE, "c", "")
    assert "d" in found.reason


def test_a_torn_write_leaves_the_state_before(tmp_path: Path) -> None:
    state = a_state()
    Registry(tmp_path).change(lambda _: state)
    (tmp_path / "registry.json.new").write_bytes(b'{"format": 1, "mod')
    assert Registry(tmp_path).state == state


@pytest.mark.parametrize("content", [b"", b"[]", b'{"format": 2}', b'{"format": 1, "models": {}}'])
def test_a_file_that_is_no_registry_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "registry.json").write_bytes(content)
    with pytest.raises(StateError, match=r"registry\.json"):
        Registry(tmp_path)


def test_history_is_bounded() -> None:
    endpoint = StoredEndpoint("e", "c", IN_SERVICE, 1.0, 2.0)
    for _ in range(250):
        endpoint = endpoint.now("Updating")
    assert len(endpoint.history) == 100


@pytest.mark.parametrize("name", ["", "-a", "a-", "a/b", "a" * 64, "../x", "a b"])
def test_names_are_those_of_sagemaker(name: str) -> None:
    with pytest.raises(UserError):
        checked_name(name, "model")


# -- metrics, and who may control

SAMPLE = re.compile(r'[a-z_]+(\{([a-z]+="(\\.|[^"\\])*",?)*\})? [-+0-9.e]+(Inf)?')


def test_metrics_are_in_prometheus_text_format(server: Running) -> None:
    server.invoke(ROW)
    with urlopen(f"{server.url}/metrics", timeout=10) as answer:
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        text = answer.read().decode()
    samples = [line for line in text.splitlines() if not line.startswith("#")]
    assert [line for line in samples if not SAMPLE.fullmatch(line)] == []
    helped = re.findall(r"# HELP (\S+)", text)
    assert helped == re.findall(r"# TYPE (\S+)", text)
    assert len(helped) == len(set(helped))
    [calls] = [line for line in samples if line.startswith("whimbrel_invocations_total") and 'code="200"' in line]
    assert 'endpoint="ServiceEndpoint"' in calls
    assert float(calls.rpartition(" ")[2]) >= 1


FOREIGN = {
    "another site's page": {"Origin": "http://evil.example"},
    "a name that resolves to us": {"Host": "evil.example"},
}


@pytest.mark.parametrize("headers", FOREIGN.values(), ids=FOREIGN)
def test_a_page_of_another_site_cannot_control(server: Running, headers: dict[str, str]) -> None:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request("POST", "/", b"{}", {"X-Amz-Target": "SageMaker.ListEndpoints"} | headers)
        answer = connection.getresponse()
        assert answer.status == 403
        assert "Message" in json.loads(answer.read())


def test_it_listens_on_this_machine_only(server: Running) -> None:
    assert server.url.startswith("http://127.0.0.1:")


# -- the project file


def test_endpoints_and_serve_are_read(tmp_path: Path) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text('[[endpoint]]\nname = "E"\nmodel = "bank"\ntraffic = "LINEAR"\nwait = 3\n[serve]\nport = 9000\n')
    predict = load_project(file).predict
    assert (predict.endpoints[0].traffic, predict.endpoints[0].wait, predict.serve.port) == ("LINEAR", 3, 9000)


FAULTS: dict[str, tuple[str, str]] = {
    "a share over 50": ('[[endpoint]]\nname = "E"\nstep_percent = 60\n', "step_percent"),
    "more than all": ('[[endpoint]]\nname = "E"\ncapture_percent = 101\n', "capture_percent"),
    "a misspelt setting": ("[serve]\nprot = 1\n", "did you mean 'port'"),
}


@pytest.mark.parametrize(("text", "named"), FAULTS.values(), ids=FAULTS)
def test_faults_of_the_project_file_are_named(tmp_path: Path, text: str, named: str) -> None:
    file = tmp_path / "whimbrel.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=named):
        load_project(file)


def test_the_server_begins_with_the_newest_version(start: Callable[..., Running], tmp_path: Path) -> None:
    from tests.prediction.serve.conftest import version
    from tests.prediction.serve.models import model_file
    from whimbrel.prediction.serve.project import deploy_new_endpoints

    file = tmp_path / "whimbrel.toml"
    file.write_text('[[endpoint]]\nname = "ServiceEndpoint"\nmodel = "bank"\n')
    for name in ("20260101T000000Z-a", "20260201T000000Z-b"):
        (tmp_path / ".whimbrel/models/bank" / name).mkdir(parents=True)
        made = model_file(tmp_path, name)
        made.rename(tmp_path / ".whimbrel/models/bank" / name / "model.json")
    deploy_new_endpoints(load_project(file), tmp_path / ".whimbrel/serve")
    server = start()
    assert version(server.invoke(ROW)) == "20260201T000000Z-b"
