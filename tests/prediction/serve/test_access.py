"""Who may ask what: tokens, signatures by boto3 and curl, names of the server, and files that control may name."""

from __future__ import annotations

import base64
import http.client
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.prediction.serve.conftest import ENDPOINT, Running, predictions, serve_command, version
from tests.prediction.serve.models import ROW, model_file
from whimbrel.errors import UserError
from whimbrel.prediction.serve.access import AccessRules, Doors
from whimbrel.prediction.serve.sigv4 import Signed, fault

CONTROL, PREDICT = "control-0123456789abcdef", "predict-0123456789abcdef"
SETTINGS = """
[serve]
token_env = "CONTROL_TOKEN"
predict_token_file = "predict.token"
allowed_hosts = ["models.example.com"]
"""
INVOKE = f"/endpoints/{ENDPOINT}/invocations"
LIST = {"X-Amz-Target": "SageMaker.ListEndpoints"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that asks for both tokens, at every address of this machine."""
    folder = tmp_path_factory.mktemp("guarded")
    token = folder / "predict.token"
    token.write_text(f"{PREDICT}\n")
    token.chmod(0o600)
    command = serve_command(folder, SETTINGS, "--host", "0.0.0.0", "--model", str(model_file(folder)))
    running = Running(command, folder, CONTROL_TOKEN=CONTROL)
    yield running
    assert running.stop() == 0


def ask(server: Running, method: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)) as connection:
        connection.request(method, path, body or None, headers)
        return (answer := connection.getresponse()).status, answer.read()


def client(server: Running, service: str, secret: str, key: str = "whimbrel", region: str = "eu-west-1") -> Any:
    session = boto3.Session(aws_access_key_id=key, aws_secret_access_key=secret, region_name=region)
    url = f"http://127.0.0.1:{server.port}"
    return session.client(service, endpoint_url=url, config=Config(retries={"max_attempts": 0}, proxies={}))  # type: ignore[call-overload]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def basic(token: str) -> dict[str, str]:
    return {"Authorization": f"Basic {base64.b64encode(f'me:{token}'.encode()).decode()}"}


# -- at the start


def test_it_does_not_start_where_others_could_control_it(tmp_path: Path) -> None:
    command = serve_command(tmp_path, "", "--host", "0.0.0.0", "--model", str(model_file(tmp_path)))
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "0.0.0.0" in done.stderr + done.stdout
    assert "token_env" in done.stderr + done.stdout


@pytest.mark.parametrize("host", ["0.0.0.0", "::", None, "192.0.2.1"])
def test_a_token_is_needed_at_any_address_that_is_not_loopback(host: str | None) -> None:
    with pytest.raises(UserError, match="token"):
        AccessRules().check(host)
    AccessRules(control_token=CONTROL).check(host)
    AccessRules(control=False).check(host)
    for local in ("127.0.0.1", "127.8.8.8", "::1", "localhost"):
        AccessRules().check(local)
    with pytest.raises(UserError, match="shorter"):
        AccessRules(control_token="guess-me").check("127.0.0.1")


SECRETS: dict[str, tuple[str, str]] = {
    "a variable that is not set": ('token_env = "NOT_SET_AT_ALL"', "NOT_SET_AT_ALL is not set"),
    "a file that is not there": ('token_file = "nothing"', "cannot be read"),
    "a file that others can read": ('token_file = "open.token"', "can be read by others"),
    "a file without a token": ('predict_token_file = "empty.token"', "has no token"),
    "two places": ('token_env = "A"\ntoken_file = "b"', "set only one of them"),
}


@pytest.mark.parametrize(("setting", "why"), SECRETS.values(), ids=SECRETS)
def test_a_secret_that_cannot_be_had_is_named(tmp_path: Path, setting: str, why: str) -> None:
    (tmp_path / "open.token").write_text(CONTROL)
    (tmp_path / "open.token").chmod(0o644)
    (tmp_path / "empty.token").touch(mode=0o600)
    command = serve_command(tmp_path, f"[serve]\n{setting}\n")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert why in " ".join((done.stderr + done.stdout).split())
    assert CONTROL not in done.stderr + done.stdout


# -- tokens

OPEN, SHOWN, ASKED, CONTROLLED = ("GET", "/ping"), ("GET", "/status"), ("POST", INVOKE), ("POST", "/")
MAY: dict[str, tuple[dict[str, str], tuple[int, ...]]] = {
    "nothing": ({}, (200, 401, 401, 401)),
    "a wrong token": (bearer("x" * 24), (200, 401, 401, 401)),
    "half a token": (bearer(CONTROL[:-1]), (200, 401, 401, 401)),
    "the token of predictions": (bearer(PREDICT), (200, 200, 200, 401)),
    "the token of control": (bearer(CONTROL), (200, 200, 200, 200)),
    "a browser's password": (basic(PREDICT), (200, 200, 200, 401)),
    "control by a browser's password": (basic(CONTROL), (200, 200, 200, 401)),
    "not base64": ({"Authorization": "Basic ?"}, (200, 401, 401, 401)),
    "an unknown way": ({"Authorization": f"Digest {CONTROL}"}, (200, 401, 401, 401)),
    "a signature without an end": ({"Authorization": "AWS4-HMAC-SHA256 Credential="}, (200, 403, 403, 403)),
}


@pytest.mark.parametrize(("shown", "expected"), MAY.values(), ids=MAY)
def test_each_path_needs_its_token(guarded: Running, shown: dict[str, str], expected: tuple[int, ...]) -> None:
    found = [
        ask(guarded, *OPEN, shown)[0],
        ask(guarded, *SHOWN, shown)[0],
        ask(guarded, *ASKED, shown | {"Content-Type": "text/csv"}, ROW)[0],
        ask(guarded, *CONTROLLED, shown | LIST, "{}")[0],
    ]
    assert tuple(found) == expected


@pytest.mark.parametrize("target", ["/?x", "//", "/#x", "http://localhost/", "/./", "/%2F", "*", "/;x"])
def test_no_other_way_to_write_the_path_gets_around_the_token(guarded: Running, target: str) -> None:
    status, _ = ask(guarded, "POST", target, bearer(PREDICT) | LIST, "{}")
    assert status in (400, 401, 404, 405)


# -- signatures


def test_boto3_signs_with_the_token_as_its_secret_key(guarded: Running) -> None:
    assert client(guarded, "sagemaker", CONTROL).list_endpoints()["Endpoints"]
    for secret in (PREDICT, CONTROL):
        runtime = client(guarded, "sagemaker-runtime", secret)
        answer = runtime.invoke_endpoint(
            EndpointName=ENDPOINT, Body=ROW, ContentType="text/csv", CustomAttributes="a=1;  b", InferenceId="x"
        )
        assert len(predictions(answer)) == 1
        assert runtime.invoke_endpoint(EndpointName=ENDPOINT, Body=f"{ROW}\n" * 20_000, ContentType="text/csv")


WRONG_KEYS = {
    "another secret": (PREDICT, "whimbrel"),
    "another key": (CONTROL, "other"),
    "neither": ("x" * 20, "local"),
}


@pytest.mark.parametrize(("secret", "key"), WRONG_KEYS.values(), ids=WRONG_KEYS)
def test_a_wrong_key_pair_is_refused(guarded: Running, secret: str, key: str) -> None:
    with pytest.raises(ClientError, match="does not match") as caught:
        client(guarded, "sagemaker", secret, key).list_endpoints()
    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_curl_signs_too(guarded: Running) -> None:
    url = f"http://127.0.0.1:{guarded.port}{INVOKE}"
    words = ["--aws-sigv4", "aws:amz:us-east-1:sagemaker", "-H", "Content-Type: text/csv", "--data-binary", ROW]
    for secret, expected in ((PREDICT, b"200"), ("wrong", b"403")):
        command = ["curl", "-s", "-o", os.devnull, "-w", "%{http_code}", "--user", f"whimbrel:{secret}", *words, url]
        done = subprocess.run(command, capture_output=True, timeout=30, check=True)
        assert done.stdout == expected


NOW = 1_440_938_160.0  # 2015-08-30T12:36:00Z
KEY, SECRET = "AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"


def signed(secret: str = SECRET, service: str = "sagemaker", **more: str) -> Signed:
    """A control call as botocore signs it at NOW, with headers of its own."""
    from datetime import UTC, datetime
    from unittest.mock import patch

    from botocore import auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {"Host": "x.example", "X-Amz-Target": "SageMaker.ListModels", "Content-Type": "text/x"} | more
    request = AWSRequest("POST", "http://x.example/a%20b/c?z=1&a=%2F", headers=headers, data=b"{}")
    with patch.object(auth, "get_current_datetime", lambda: datetime.fromtimestamp(NOW, UTC).replace(tzinfo=None)):
        auth.SigV4Auth(Credentials(KEY, secret), service, "us-east-1").add_auth(request)
    pairs = [(name.lower(), value) for name, value in request.headers.items()]
    return Signed("POST", "/a%20b/c", "z=1&a=%2F", pairs, b"{}")


def changed(request: Signed, name: str, value: str | None) -> Signed:
    kept = [pair for pair in request.headers if pair[0] != name]
    return request._replace(headers=[*kept, (name, value)] if value is not None else kept)


def authorization(request: Signed) -> str:
    return dict(request.headers)["authorization"]


FORGED: dict[str, Callable[[Signed], Signed]] = {
    "another method": lambda r: r._replace(method="GET"),
    "another path": lambda r: r._replace(path="/a%20b/d"),
    "another query": lambda r: r._replace(query="z=2&a=%2F"),
    "another body": lambda r: r._replace(body=b"{ }"),
    "another operation": lambda r: changed(r, "x-amz-target", "SageMaker.DeleteModel"),
    "another host": lambda r: changed(r, "host", "y.example"),
    "one more header of Amazon's": lambda r: changed(r, "x-amzn-sagemaker-target-variant", "A"),
    "the operation twice": lambda r: r._replace(headers=[*r.headers, ("x-amz-target", "SageMaker.DeleteModel")]),
    "another body by its header": lambda r: changed(r, "x-amz-content-sha256", "0" * 64),
    "an unsigned body": lambda r: changed(r, "x-amz-content-sha256", "UNSIGNED-PAYLOAD"),
    "no date": lambda r: changed(r, "x-amz-date", None),
    "a date of today on yesterday's signature": lambda r: changed(r, "x-amz-date", "20150831T123600Z"),
    "not a date": lambda r: changed(r, "x-amz-date", "20151330T123600Z"),
    "one digit": lambda r: changed(
        r, "authorization", authorization(r)[:-1] + ("0" if authorization(r)[-1] != "0" else "1")
    ),
    "no signature": lambda r: changed(r, "authorization", re.sub("[0-9a-f]{64}$", "", authorization(r))),
    "the operation left out": lambda r: changed(r, "authorization", authorization(r).replace(";x-amz-target", "")),
    "the host left out": lambda r: changed(r, "authorization", authorization(r).replace("host;", "")),
}


@pytest.mark.parametrize("forge", FORGED.values(), ids=FORGED)
def test_whatever_is_changed_the_signature_does_not_fit(forge: Callable[[Signed], Signed]) -> None:
    request = signed()
    assert fault(request, KEY, [SECRET], NOW) == ""
    assert fault(forge(request), KEY, [SECRET], NOW) != ""


def test_a_signature_holds_for_five_minutes_for_one_service_and_one_secret() -> None:
    request = signed()
    assert fault(request, KEY, [SECRET], NOW + 299) == fault(request, KEY, [SECRET], NOW - 299) == ""
    assert "301 seconds ago" in fault(request, KEY, [SECRET], NOW + 301)
    assert "301 seconds from now" in fault(request, KEY, [SECRET], NOW - 301)
    assert fault(request, KEY, ["another", SECRET], NOW) == ""
    assert fault(request, KEY, ["another"], NOW) == fault(request, "OTHER", [SECRET], NOW) != ""
    assert "not for 'sagemaker'" in fault(signed(service="s3"), KEY, [SECRET], NOW)
    assert fault(signed(service="logs"), KEY, [SECRET], NOW) == ""


# -- names

HOSTS: dict[str, tuple[str | None, int]] = {
    "its address": ("127.0.0.1:{port}", 200),
    "its name here": ("localhost", 200),
    "as it is written": ("LOCALHOST.", 200),
    "a name of the list": ("models.example.com", 200),
    "the list's, with a port": ("models.example.com:443", 200),
    "another name": ("evil.example", 403),
    "a longer name": ("models.example.com.evil.example", 403),
    "another address": ("192.0.2.7", 403),
    "half an address": ("[::", 400),
    "no address": ("[:::]", 400),
    "nothing": ("", 400),
    "none at all": (None, 400),
    "with a user": ("a@localhost", 400),
    "a port that is none": ("localhost:x", 400),
}


@pytest.mark.parametrize("path", ["/ping", "/status", INVOKE])
@pytest.mark.parametrize(("host", "expected"), HOSTS.values(), ids=HOSTS)
def test_the_server_answers_to_its_names_only(guarded: Running, host: str | None, expected: int, path: str) -> None:
    post = path == INVOKE
    headers = bearer(PREDICT) | {"Content-Type": "text/csv", "Content-Length": str(len(ROW) * post)}
    if host is not None:
        headers["Host"] = host.replace("{port}", str(guarded.port))
    with closing(http.client.HTTPConnection("127.0.0.1", guarded.port, timeout=10)) as connection:
        connection.putrequest("POST" if post else "GET", path, skip_host=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders(ROW.encode() if post else None)
        assert connection.getresponse().status == expected


@pytest.mark.parametrize("path", ["/", "/ping", "/status", "/metrics", INVOKE])
def test_a_page_of_another_site_gets_nothing(guarded: Running, path: str) -> None:
    method = "POST" if path == INVOKE else "GET"
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "file://", "http://["):
        assert ask(guarded, method, path, bearer(CONTROL) | {"Origin": origin}, ROW)[0] == 403
    own = {"Origin": f"http://127.0.0.1:{guarded.port}", "Content-Type": "text/csv"}
    assert ask(guarded, method, path, bearer(CONTROL) | own, ROW if method == "POST" else "")[0] == 200


def test_a_header_that_decides_stands_once(guarded: Running) -> None:
    doors = Doors(AccessRules(), "127.0.0.1")
    twice = [(b"host", b"localhost"), (b"host", b"evil.example")]
    refused = doors.by_head(b"GET", b"/", twice, dict(twice), ("127.0.0.1", 80))
    assert refused
    assert refused.status == 400


# -- the command line is a client too


def test_the_commands_show_the_token_of_the_project(guarded: Running, tmp_path: Path) -> None:
    folder = Path(guarded._folder)
    file = model_file(tmp_path, "second")  # not below a folder that control may name
    words = ["endpoint", "update", ENDPOINT, "--model", str(file), "--at-once"]
    command = [sys.executable, "-m", "whimbrel", *words]
    done = subprocess.run(
        command, cwd=folder, env=os.environ | {"CONTROL_TOKEN": CONTROL}, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    runtime = client(guarded, "sagemaker-runtime", PREDICT)
    answer = runtime.invoke_endpoint(EndpointName=ENDPOINT, Body=ROW, ContentType="text/csv")
    assert version(answer) == "second"
    model = client(guarded, "sagemaker", CONTROL)
    name = model.list_models()["Models"][0]["ModelName"]
    assert Path(model.describe_model(ModelName=name)["PrimaryContainer"]["ModelDataUrl"]).exists()
    assert not list((folder / ".whimbrel" / "serve" / "incoming").iterdir())


# -- files


@pytest.fixture
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that control may not name, with a model in it that would load."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.move(model_file(folder, "secret"), folder / "model.json")
    return folder


NAMED = ["/dev/zero", "/proc/self/environ", "{outside}/model.json", "../{up}/model.json", "{here}/link.json",
         "{here}/linked/model.json", "{here}/pipe.json", "{here}", "{here}/nothing.json", "a\0b"]  # fmt: skip


@pytest.mark.parametrize("named", NAMED)
def test_control_names_only_files_below_its_folders(
    start: Callable[..., Running], tmp_path: Path, outside: Path, named: str
) -> None:
    server = start("--model", str(model_file(tmp_path)))
    (tmp_path / "link.json").symlink_to(outside / "model.json")
    (tmp_path / "linked").symlink_to(outside)
    os.mkfifo(tmp_path / "pipe.json")
    place = named.format(outside=outside, up=outside.name, here=tmp_path)
    with pytest.raises(ClientError, match=r"not below the folders|not a regular file|cannot be read|not a path"):
        server.client("sagemaker").create_model(ModelName="m", PrimaryContainer={"ModelDataUrl": place})


def test_control_captures_and_trains_only_below_its_folders(
    start: Callable[..., Running], tmp_path: Path, outside: Path
) -> None:
    server = start("--model", str(model_file(tmp_path)))
    sagemaker = server.client("sagemaker")
    (tmp_path / "linked").symlink_to(outside)
    inside = tmp_path / "train"
    inside.mkdir()
    (inside / "rows.csv").symlink_to(outside / "model.json")
    [model] = sagemaker.list_models()["Models"]
    for place in (outside, tmp_path / "linked" / "captured", Path("/etc")):
        with pytest.raises(ClientError, match="not below the folders"):
            sagemaker.create_endpoint_config(
                EndpointConfigName="c",
                ProductionVariants=[{"VariantName": "A", "ModelName": model["ModelName"]}],
                DataCaptureConfig={
                    "InitialSamplingPercentage": 100,
                    "DestinationS3Uri": place.as_uri(),
                    "CaptureOptions": [{"CaptureMode": "Input"}],
                },
            )
    for channel, output in ((outside, inside), (inside, inside), (tmp_path / "empty", outside)):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(ClientError, match="not below the folders"):
            train(sagemaker, channel, output)
    (inside / "rows.csv").unlink()
    os.mkfifo(inside / "rows.csv")
    with pytest.raises(ClientError, match="not a regular file"):
        train(sagemaker, inside, tmp_path)


def train(sagemaker: Any, channel: Path, output: Path) -> None:
    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": channel.as_uri()}}
    sagemaker.create_training_job(
        TrainingJobName="j",
        AlgorithmSpecification={"TrainingImage": "x", "TrainingInputMode": "File"},
        RoleArn="arn:aws:iam::000000000000:role/x",
        InputDataConfig=[{"ChannelName": "train", "DataSource": source}],
        OutputDataConfig={"S3OutputPath": output.as_uri()},
        ResourceConfig={"InstanceType": "ml.m5.large", "InstanceCount": 1, "VolumeSizeInGB": 1},
        StoppingCondition={"MaxRuntimeInSeconds": 60},
    )
