"""What survives of an endpoint's update: kills, restarts, a lost file, a stop; with a server and without one."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from click.testing import CliRunner

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions, version, wait_for
from tests.prediction.serve.models import ROW, model_file
from tests.prediction.serve.test_update import AT_ONCE, Start, add_model, create, routing, settled, update
from whimbrel import plan_update_endpoint
from whimbrel.errors import ModelDamaged
from whimbrel.prediction.serve.deploy import deploy


@pytest.mark.parametrize("moment", ["while it loads", "on trial", "just before the end"])
def test_killed_in_mid_swap_it_comes_up_whole(start: Start, tmp_path: Path, moment: str) -> None:
    server = start()
    create(server, model_file(tmp_path, "old"))
    # A late model needs 0.8 s to be taken in (that loads it, too) and again to be brought up.
    late = moment == "while it loads"
    name = add_model(server, model_file(tmp_path, "late" if late else "new", intercept=2.0))
    deployment = routing("CANARY", 0 if moment == "just before the end" else 30)
    server.client("sagemaker").update_endpoint(
        EndpointName=ENDPOINT, EndpointConfigName=name, DeploymentConfig=deployment
    )
    if moment == "on trial":
        wait_for(lambda: version(server.invoke(ROW)) == "new")
    server.kill()
    server.start()
    found = settled(server)
    assert found["EndpointStatus"] == "InService"
    expected = {"old": {"old"}, name: {"new"}}[found["EndpointConfigName"]]
    assert {version(server.invoke(ROW)) for _ in range(20)} == expected
    if moment != "just before the end":
        assert found["EndpointConfigName"] == "old"
        assert "the server ended during the update" in found["FailureReason"]
    if not late:
        fresh = model_file(tmp_path, "next")
        assert update(server, fresh, {})["EndpointConfigName"] == "next"


def test_an_endpoint_whose_file_is_gone_fails_by_name_and_the_server_serves_the_others(
    start: Start, tmp_path: Path
) -> None:
    server = start()
    create(server, model_file(tmp_path, "good"))
    server.kill()
    next((tmp_path / ".whimbrel/serve/models").iterdir()).write_bytes(b"{")
    server.start()
    found = settled(server)
    assert found["EndpointStatus"] == "Failed"
    assert "not JSON" in found["FailureReason"]
    with pytest.raises(ClientError) as caught:
        server.invoke(ROW)
    assert caught.value.response["Error"]["Code"] == "ServiceUnavailable"


def test_deploy_works_with_a_server_and_without_one(start: Start, tmp_path: Path) -> None:
    folder = tmp_path / ".whimbrel" / "serve"
    assert deploy(folder, AT_ONCE, model_file(tmp_path, "first")).live
    server = start()
    assert version(server.invoke(ROW)) == "first"
    done = deploy(folder, AT_ONCE, model_file(tmp_path, "second"))
    assert (done.live, done.version, done.reason) == (True, "second", "")
    assert version(server.invoke(ROW)) == "second"


def test_the_command_line_updates_a_running_server(start: Start, tmp_path: Path) -> None:
    server = start("--model", str(model_file(tmp_path, "first")))
    second = model_file(tmp_path, "second")
    said = whimbrel(tmp_path, "endpoint", "update", ENDPOINT, "--model", str(second), "--at-once", "--json")
    assert json.loads(said)["live"] is True
    assert version(server.invoke(ROW)) == "second"
    assert json.loads(whimbrel(tmp_path, "predict", ROW)) == {"predictions": predictions(server.invoke(ROW))}
    assert json.loads(whimbrel(tmp_path, "predict", "--model", str(second), ROW))["predictions"]
    [endpoint] = json.loads(whimbrel(tmp_path, "endpoint", "status", "--json"))["endpoints"]
    assert endpoint["variants"][0]["version"] == "second"


def test_a_dry_run_of_an_update_reads_the_model_and_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "whimbrel.toml").touch()
    update = ("endpoint", "update", ENDPOINT, "--model", str(model_file(tmp_path, "second")), "--dry-run")
    assert "version second: checked, then 10% of the calls for 10 s, then 100%" in whimbrel(tmp_path, *update)
    plan = json.loads(whimbrel(tmp_path, *update, "--json"))
    stages = [{"share": 0.1, "seconds": 10.0}, {"share": 1.0, "seconds": 5.0}]
    assert plan == {"endpoint": ENDPOINT, "version": "second", "stages": stages}
    assert json.loads(whimbrel(tmp_path, "endpoint", "status", "--json")) == {"endpoints": []}
    with pytest.raises(ModelDamaged):
        plan_update_endpoint(tmp_path / "whimbrel.toml", ENDPOINT, model=tmp_path / "none")


def whimbrel(folder: Path, *words: str) -> str:
    """The command, in this process: to start it again each time takes longer than what it does."""
    from whimbrel.cli.main import main

    place = ["-p", str(folder / "whimbrel.toml")]
    where = 2 if words[0] == "endpoint" else 1
    done = CliRunner().invoke(main, [*words[:where], *place, *words[where:]], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_two_servers_cannot_have_one_registry(server: Running, start: Start, tmp_path: Path) -> None:
    start()
    command = [sys.executable, "-m", "whimbrel", "serve", "--port", "0"]
    second = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert second.returncode == 3
    assert "serves from it" in second.stderr


def test_a_stop_costs_no_request_that_has_begun(start: Start, tmp_path: Path) -> None:
    server = start("--model", str(model_file(tmp_path, "only")))
    body = f"{ROW}\n".encode() * 5_000
    head = "POST /invocations HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/csv\r\n"
    head += f"Content-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as client:
        client.sendall(head.encode() + body[:1000])
        # The server has read of it when it has answered two connections that came later.
        assert b"whimbrel_connections 2" in fetch(server, "/metrics") + fetch(server, "/metrics")
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: not listens(server.port))
        client.sendall(body[1000:])
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert len(json.loads(answer.read())["predictions"]) == 5_000
        assert answer.headers["connection"] == "close"
    assert server.process.wait(10) == 0


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def fetch(server: Running, path: str) -> bytes:
    from urllib.request import urlopen

    with urlopen(server.url + path, timeout=10) as answer:
        return bytes(answer.read())
