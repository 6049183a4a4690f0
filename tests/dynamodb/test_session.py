"""Where DynamoDB is and who we are there, as the chain of boto3 says it, and its errors as ours."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

import botocore.exceptions as boto
import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.httpsession import URLLib3Session

from tests.dynamodb.scripted import ScriptedServer, answer
from whimbrel.dynamodb import tables
from whimbrel.dynamodb.session import Session, is_loopback, open_client, translate
from whimbrel.dynamodb.wire import DynamoClient
from whimbrel.errors import RequestRefused, TargetError, TargetUnreachable, UserError, WhimbrelError
from whimbrel.project import Target

Serve = Callable[..., tuple[ScriptedServer, DynamoClient]]
SERVICES = [
    *("dynamodb", "dynamodbstreams", "kinesis", "s3", "sqs", "sts", "glue", "emr", "emr-serverless", "athena"),
    *("sagemaker", "sagemaker-runtime", "redshift-data", "stepfunctions"),
]
EXPIRED = '{"Version":1,"AccessKeyId":"a","SecretAccessKey":"s","SessionToken":"t","Expiration":"2020-01-01T00:00:00Z"}'


def test_a_local_server_needs_neither_keys_nor_a_region(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    server, _ = serve(answer(b'{"TableNames":["t"]}'))
    session = Session(Target(endpoint=server.endpoint))
    assert (session.region, session.credentials().access_key) == ("us-east-1", "whimbrel")
    assert session.client().list_tables()["TableNames"] == ["t"]
    assert b"Credential=whimbrel/" in server.requests[0]


@pytest.mark.parametrize(
    ("region", "domain"),
    [("eu-west-1", "amazonaws.com"), ("cn-north-1", "amazonaws.com.cn"), ("us-gov-west-1", "amazonaws.com")],
)
def test_every_service_of_aws_is_found_in_the_partition_of_the_region(region: str, domain: str) -> None:
    """As a project does that names no endpoint: that of a stand-in hides what goes wrong with AWS itself."""
    for name in SERVICES:
        session = Session(Target(region=region), name)
        found = [session.endpoint, *(session.service(each).meta.endpoint_url for each in (name, name, "s3"))]
        for url in found:
            host = urlsplit(url).hostname or ""
            assert host.endswith(f".{domain}")
            assert region in host


def test_a_region_is_taken_from_either_name_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDKs of AWS have AWS_REGION, and botocore has the other."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-2")
    assert Session(Target()).region == "eu-west-2"
    monkeypatch.setenv("AWS_REGION", "eu-west-1")
    assert Session(Target()).region == "eu-west-1"
    assert Session(Target(region="eu-central-1")).region == "eu-central-1"


@pytest.mark.usefixtures("tried_again_at_once")
@pytest.mark.parametrize("where", ["project file", "AWS_REGION"])
def test_a_role_is_asked_for_in_the_partition_of_the_region(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """STS has one address for all regions in one partition alone: nobody outside of that may need it."""
    role = "role_arn = arn:aws-cn:iam::111122223333:role/mover\nsource_profile = base\n"
    (tmp_path / "config").write_text(f"[profile mover]\n{role}")
    (tmp_path / "credentials").write_text("[base]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)
    if where == "AWS_REGION":
        monkeypatch.setenv(where, "cn-north-1")
    asked = list[str]()

    def send(_: object, request: AWSPreparedRequest) -> NoReturn:
        asked.append(str(request.url))
        raise boto.EndpointConnectionError(endpoint_url=request.url)

    monkeypatch.setattr(URLLib3Session, "send", send)
    session = Session(Target(profile="mover", region="" if where == "AWS_REGION" else "cn-north-1"))
    with pytest.raises(TargetUnreachable):
        session.credentials()
    assert {urlsplit(url).hostname for url in asked} == {"sts.cn-north-1.amazonaws.com.cn"}


@pytest.mark.parametrize("url", ["http://127.9.9.9:1", "http://[::1]:8000", "https://db.localhost", "http://localhost"])
def test_this_machine_is_known_by_name_and_address(url: str) -> None:
    assert is_loopback(url)


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "ftp://127.0.0.1", "http://", "127.0.0.1"])
def test_what_is_not_the_url_of_an_endpoint_is_refused(url: str) -> None:
    with pytest.raises(UserError, match="is not an endpoint URL"):
        Session(Target(endpoint=url, region="eu-west-1"))


def test_a_region_that_cannot_be_one_is_refused() -> None:
    with pytest.raises(UserError, match="not a region") as caught:
        Session(Target(region="not a region"))
    assert "Fix region or endpoint" in caught.value.hint


def test_keys_that_have_ended_when_they_are_given_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever gives them may have a clock that is wrong, or keep them for too long: the next ones may be good."""
    (tmp_path / "keys").write_text(EXPIRED)
    command = f"{sys.executable} -c 'print(open(\"{tmp_path}/keys\").read())'"
    (tmp_path / "config").write_text(f"[default]\nregion = eu-west-1\ncredential_process = {command}\n")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    session = Session(Target())
    with pytest.raises(TargetUnreachable, match="expired"):
        session.credentials()
    (tmp_path / "keys").write_text(EXPIRED.replace("2020", "2999"))
    assert session.credentials().access_key == "a"


@pytest.mark.parametrize(
    ("error", "kind", "said"),
    [
        (boto.NoCredentialsError(), UserError, "no AWS credentials were found"),
        (boto.PartialCredentialsError(provider="env", cred_var="x"), UserError, "no AWS credentials were found"),
        (boto.UnauthorizedSSOTokenError(), UserError, "SSO"),
        (boto.TokenRetrievalError(provider="sso", error_msg="over"), UserError, "over"),
        (boto.InvalidConfigError(error_msg="no source_profile"), UserError, "no source_profile"),
        (boto.InfiniteLoopConfigError(source_profile="a", visited_profiles=["a"]), UserError, "a"),
        (boto.CredentialRetrievalError(provider="p", error_msg="away"), TargetUnreachable, "away"),
        (boto.MetadataRetrievalError(error_msg="away"), TargetUnreachable, "away"),
        (boto.EndpointConnectionError(endpoint_url="http://x"), TargetUnreachable, "http://x"),
        (boto.ReadTimeoutError(endpoint_url="http://x"), TargetUnreachable, "http://x"),
        (boto.ParamValidationError(report="a name of two letters"), RequestRefused, "a name of two letters"),
    ],
)
def test_what_boto3_raises_is_an_error_of_ours(error: Exception, kind: type[WhimbrelError], said: str) -> None:
    with pytest.raises(WhimbrelError, match=said) as caught:
        translate(error, "orders")
    assert type(caught.value) is kind
    assert caught.value.__cause__ is error


def test_what_nobody_knows_stays_what_it_is() -> None:
    error = ZeroDivisionError("a bug")
    with pytest.raises(ZeroDivisionError) as caught:
        translate(error, "orders")
    assert caught.value is error


def described(status: str, stream: str = "") -> bytes:
    streams = f',"StreamSpecification":{{{stream}}},"LatestStreamArn":"arn"' if stream else ""
    key = '"KeySchema":[{"AttributeName":"id","KeyType":"HASH"}]'
    kinds = '"AttributeDefinitions":[{"AttributeName":"id","AttributeType":"S"}],"CreationDateTime":1.0'
    table = f'{{"TableName":"orders","TableStatus":"{status}",{key},{kinds},"ItemCount":0,"TableId":"i"{streams}}}'
    return answer(f'{{"Table":{table}}}'.encode())


def test_a_table_that_does_not_become_active_is_said_with_its_status(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "ACTIVE_SECONDS", 0.0)
    server, _ = serve(described("CREATING"), described("CREATING"), described("CREATING"))
    with pytest.raises(TargetUnreachable, match="the table is still CREATING"):
        tables.ensure_table(open_client(Target(endpoint=server.endpoint)), "orders", [("id", "S")], Target())


def test_a_stream_is_one_that_is_on_and_has_both_images(serve: Serve) -> None:
    off, keys = '"StreamEnabled":false', '"StreamEnabled":true,"StreamViewType":"KEYS_ONLY"'
    on = '"StreamEnabled":true,"StreamViewType":"NEW_AND_OLD_IMAGES"'
    server, _ = serve(*(described("ACTIVE", each) for each in (on, off, "", keys, off)))
    client = open_client(Target(endpoint=server.endpoint))
    assert [tables.stream_of(client, "orders") for _ in range(3)] == ["arn", "", ""]
    with pytest.raises(TargetError, match="the table's stream has KEYS_ONLY") as caught:
        tables.stream_of(client, "orders")
    assert "cannot be changed" in caught.value.hint
    assert not tables.turn_stream_off(client, "orders")  # it is off: nothing is asked for
    assert len(server.requests) == 5
