"""A bucket as AWS has it: in another region than the table, and with keys that end while it is used."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders

from whimbrel.bucket import Bucket
from whimbrel.errors import RequestRefused
from whimbrel.project import Store, Target

REFUSED = "<Error><Code>{code}</Code><Message>no</Message><Region>eu-central-1</Region></Error>"


class Raw(BytesIO):
    def stream(self) -> Any:
        yield self.getvalue()


def answer(request: AWSPreparedRequest, status: int, code: str = "", **headers: str) -> AWSResponse:
    body = REFUSED.format(code=code).encode() if code and request.method != "HEAD" else b""
    named = HTTPHeaders.from_pairs([(name.replace("_", "-"), value) for name, value in headers.items()])
    for name, value in (("ETag", '"e"'), ("Content-Length", str(len(body)))):
        named[name] = value
    return AWSResponse(request.url, status, named, Raw(body))


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Write them, as a person who signs in does."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE", "REGION", "ENDPOINT_URL_S3"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))

    def write(key: str) -> None:
        file.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = s\naws_session_token = t\n")

    write("first")
    return write


def s3(monkeypatch: pytest.MonkeyPatch, answers: Callable[[AWSPreparedRequest], AWSResponse]) -> Bucket:
    """A bucket of AWS's, which ``answers``."""
    monkeypatch.setattr("botocore.httpsession.URLLib3Session.send", lambda _, request: answers(request))
    return Bucket(Store("my-bucket", "shop", ""), Target(region="us-east-1"))


def signed_for(request: AWSPreparedRequest) -> str:
    found: bytes | str = request.headers["Authorization"]
    return found.decode() if isinstance(found, bytes) else found


@pytest.mark.parametrize("code", ["PermanentRedirect", "AuthorizationHeaderMalformed"])
def test_it_may_be_in_another_region(monkeypatch: pytest.MonkeyPatch, keys: Callable[[str], None], code: str) -> None:
    asked = []

    def answers(request: AWSPreparedRequest) -> AWSResponse:
        asked.append(request.url)
        if "/eu-central-1/s3" in signed_for(request):
            return answer(request, 200)
        status = 301 if code == "PermanentRedirect" else 400
        return answer(request, status, code, x_amz_bucket_region="eu-central-1")

    bucket = s3(monkeypatch, answers)
    assert bucket.put_new("a", b"data")
    assert bucket.get("a") == b""
    assert bucket.size("a") == 0
    assert len(asked) == 4, "it is told once"
    assert asked[-1] == "https://my-bucket.s3.eu-central-1.amazonaws.com/shop/a"


@pytest.mark.parametrize("renewed", [True, False])
@pytest.mark.parametrize("first", ["put", "get", "size", "list"])
def test_keys_in_a_file_may_end_meanwhile(
    monkeypatch: pytest.MonkeyPatch, keys: Callable[[str], None], first: str, renewed: bool
) -> None:
    """Where somebody has written others by then, it goes on; else it says what to do."""
    over = False

    def answers(request: AWSPreparedRequest) -> AWSResponse:
        if over and "Credential=first/" in signed_for(request):
            return answer(request, 400, "ExpiredToken")
        return answer(request, 200)

    bucket = s3(monkeypatch, answers)
    call: Callable[[], Any] = {
        "put": lambda: bucket.put_new("a", b"data"),
        "get": lambda: bucket.get("a"),
        "size": lambda: bucket.size("a"),
        "list": lambda: list(bucket.list("")),
    }[first]
    call()
    over = True
    if renewed:
        keys("second")
        call()
    else:
        with pytest.raises(RequestRefused):
            call()
