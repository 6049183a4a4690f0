"""Where DynamoDB is and who we are there: botocore's own chain for region, endpoint and credentials.

botocore is imported when it is first needed: it takes longer to import than the rest of whimbrel together. boto3 adds
nothing that whimbrel uses, and takes longer still.
"""

from __future__ import annotations

import ipaddress
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple, NoReturn, TypeVar
from urllib.parse import urlsplit

from whimbrel.dynamodb.answers import Answer, Undocumented
from whimbrel.dynamodb.pace import Backoff
from whimbrel.dynamodb.refusals import UNEXPECTED_HINT, error_for
from whimbrel.errors import RequestRefused, TargetUnreachable, UnexpectedAnswer, UserError
from whimbrel.project import Target
from whimbrel.project.section import NO_USER, without_password

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

Result = TypeVar("Result")

KNOWN_FOR = 30.0  # seconds
ASKS = 6  # of one call by botocore, before its answers count as an error
_LOCAL_REGION = "us-east-1"  # a local server takes any; DynamoDB Local keeps one database for each
_CREDENTIALS = "AWS credentials"
_CREDENTIALS_HINT = (
    "Set AWS_PROFILE, run `aws configure`, or give the machine a role; for a local server set the endpoint."
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """One set of keys, as the chain gave them at one moment; never printed."""

    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    token: str = field(default="", repr=False)


_DUMMY = Credentials("whimbrel", "whimbrel")


class KnownTarget(NamedTuple):
    """What a Session has found."""

    region: str
    endpoint: str
    ca_bundle: str | None
    credentials: Credentials


class Session:
    """A botocore session for a Target: its endpoint URL, its region, and credentials that renew themselves.

    Whoever gives credentials may be away, or refuse: TargetUnreachable (which is tried again in a run), Throttled,
    PrivilegeError, RequestRefused, or UserError for settings that lead nowhere.
    """

    def __init__(self, target: Target, service: str = "dynamodb") -> None:
        """``service`` is whose endpoint it is, by botocore's name.

        Raises UserError when no region is set, the profile does not exist, or the endpoint is not a URL.
        """
        self._target = target
        self._service = service
        self._session = _boto_session(target)
        self._local = is_loopback(_configured_endpoint(target, self._session, service))
        self.region = self._region()
        self._source = self._find_credentials()
        self.endpoint = self._endpoint()
        if self._source is None and not is_loopback(self.endpoint):
            raise UserError("no AWS credentials were found", place="target", hint=_CREDENTIALS_HINT)
        self.ca_bundle: str | None = self._session.get_config_variable("ca_bundle")

    def credentials(self) -> Credentials:
        """The keys of this moment; renewed by botocore when they are about to expire."""
        if self._source is None:
            return _DUMMY
        try:
            frozen = self._source.get_frozen_credentials()
        except RuntimeError as error:  # botocore's own, for new keys that have expired already
            raise TargetUnreachable(str(error), place=_CREDENTIALS) from error
        except Exception as error:
            translate(error, _CREDENTIALS)
        return Credentials(frozen.access_key, frozen.secret_key, frozen.token or "")

    def reload(self) -> None:
        """Ask the whole chain again, files included: keys that somebody renewed outside are found."""
        self._session = _boto_session(self._target)
        self._source = self._find_credentials()

    def client(self) -> DynamoDBClient:
        """A botocore client with the same endpoint, region and credentials, for the calls that are not hot."""
        made: DynamoDBClient = self.service("dynamodb")
        return made

    def service(self, name: str, seconds: float = 0.0) -> Any:
        """A botocore client of any service. With ``seconds``, a call is tried once, and waits for its connection and
        for each part of its answer no longer.
        """
        from botocore import __version__ as version
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        keys: dict[str, Any] = {}
        if self._source is None:
            keys = {"aws_access_key_id": _DUMMY.access_key, "aws_secret_access_key": _DUMMY.secret_key}
        # One text for all: botocore puts its own together twice for each call, a fifth of the CPU time of a put to S3.
        config = Config(retries={"mode": "standard", "max_attempts": 3}, user_agent=f"whimbrel botocore/{version}")
        if seconds:
            once = Config(retries={"total_max_attempts": 1}, connect_timeout=seconds, read_timeout=seconds)
            config = config.merge(once)
        try:
            return self._session.create_client(
                name, region_name=self.region, endpoint_url=self._url_for(name), config=config, **keys
            )
        except (BotoCoreError, ValueError) as error:  # a region or an endpoint that cannot be one
            raise UserError(str(error), place="target", hint="Fix region or endpoint in the project file.") from error

    def _url_for(self, name: str) -> str | None:
        """A VPC endpoint is of one service; a stand-in answers for all of them. None: botocore finds AWS."""
        url = self._target.endpoint
        return None if not url or (name != self._service and _of_aws(url)) else url

    def _region(self) -> str:
        region = self._session.get_config_variable("region")
        if region:
            return str(region)
        if self._local:
            return _LOCAL_REGION
        raise UserError("no AWS region is set", place="target", hint="Set region in the project file or AWS_REGION.")

    def _find_credentials(self) -> Any:
        if self._local:  # the metadata service of a cloud machine has nothing to say about a local server
            self._session.get_component("credential_provider").remove("iam-role")
        try:
            return self._session.get_credentials()
        except Exception as error:
            translate(error, _CREDENTIALS)

    def _endpoint(self) -> str:
        url = self._target.endpoint or self.service(self._service).meta.endpoint_url
        if "@" in url:
            raise UserError(NO_USER, place="AWS_ENDPOINT_URL", hint="boto3 finds credentials in its own settings.")
        if urlsplit(url).scheme not in ("http", "https") or not _host(url):
            raise _no_endpoint(url)
        return url


class KnownSession:
    """A Session in a worker, which begins with what its parent's has found, since botocore takes a fifth of a second
    to import. After KNOWN_FOR, or when the keys are refused, it asks the chain itself.
    """

    def __init__(self, target: Target, service: str, known: KnownTarget) -> None:
        self._target, self._service = target, service
        self.region, self.endpoint, self.ca_bundle, self._credentials = known
        self._until = time.monotonic() + KNOWN_FOR
        self._own: Session | None = None

    def credentials(self) -> Credentials:
        """As Session does."""
        if self._own is None:
            if time.monotonic() < self._until:
                return self._credentials
            self._own = Session(self._target, self._service)
        return self._own.credentials()

    def reload(self) -> None:
        """As Session does."""
        self._own = Session(self._target, self._service)


def is_loopback(url: str) -> bool:
    """True if the URL's host is this machine itself, by name or address."""
    host = _host(url)
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _of_aws(url: str) -> bool:
    return re.search(r"\.(amazonaws\.com(\.cn)?|api\.aws|api\.amazonwebservices\.com\.cn)$", _host(url)) is not None


def _host(url: str) -> str:
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises what a port can be wrong with
        return parts.hostname or ""
    except ValueError:
        raise _no_endpoint(url) from None


def _no_endpoint(url: str) -> UserError:
    return UserError(
        f"{without_password(url)!r} is not an endpoint URL", place="target", hint="Write it as http://127.0.0.1:8000."
    )


def open_client(target: Target) -> DynamoDBClient:
    """A botocore client for the Target. Raises UserError as Session does."""
    return Session(target).client()


def open_service(target: Target, name: str) -> Any:
    """A botocore client of another service, at the Target's endpoint if it has one. Raises as Session does."""
    return Session(target).service(name)


def ask(call: Callable[..., Any], read: Callable[[Answer], Result], place: str, **request: Any) -> Result:
    """What ``read`` makes of the answer to a call of a botocore client; asked again while it is not as documented.

    Raises UnexpectedAnswer if it stays so, and what ``call`` raises.
    """
    backoff = Backoff()
    for _ in range(ASKS - 1):
        try:
            return read(call(**request))
        except Undocumented:
            time.sleep(backoff.next())
    try:
        return read(call(**request))
    except Undocumented as error:
        message = f"the answer does not have the documented form: {error}"
        raise UnexpectedAnswer(message, place=place, hint=UNEXPECTED_HINT) from error


def translate(error: Exception, place: str) -> NoReturn:
    """Raise what botocore raised as one of whimbrel's own errors."""
    from botocore import exceptions as boto

    if isinstance(error, boto.ClientError):
        code, text = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
        raise error_for(error.response["ResponseMetadata"]["HTTPStatusCode"], code, text, place) from error
    if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError):
        raise UserError("no AWS credentials were found", place=place, hint=_CREDENTIALS_HINT) from error
    if isinstance(error, boto.SSOError | boto.TokenRetrievalError):
        raise UserError(str(error), place=_CREDENTIALS, hint="Sign in: aws sso login --profile NAME.") from error
    if isinstance(error, boto.InvalidConfigError | boto.InfiniteLoopConfigError | boto.UnknownCredentialError):
        raise UserError(str(error), place=_CREDENTIALS, hint="Correct the profile in ~/.aws/config.") from error
    if isinstance(error, boto.CredentialRetrievalError | boto.MetadataRetrievalError):
        raise TargetUnreachable(str(error), place=_CREDENTIALS) from error
    if isinstance(error, boto.HTTPClientError | boto.ConnectionError):
        raise TargetUnreachable(str(error), place=place) from error
    if isinstance(error, boto.BotoCoreError):  # refused before it was sent: a name that no table can have
        raise RequestRefused(str(error), code=type(error).__name__, place=place) from error
    raise error


def _boto_session(target: Target) -> Any:
    import botocore.exceptions
    import botocore.session

    session = botocore.session.Session(profile=target.profile or None)
    try:
        session.get_scoped_config()
    except botocore.exceptions.ProfileNotFound as error:
        raise UserError(str(error), place="target.profile", hint="`aws configure list-profiles` lists them.") from error
    # For STS too: outside of the partition aws it has no address but those of the regions. And botocore itself does
    # not read AWS_REGION.
    if region := target.region or os.environ.get("AWS_REGION"):
        session.set_config_variable("region", region)
    session.register_component("data_loader", _service_files(session.get_config_variable("data_path")))
    return session


@cache
def _service_files(path: str | None) -> Any:
    """Read once: one command makes several sessions."""
    from whimbrel.dynamodb.service_files import service_files

    return service_files(path)


def _configured_endpoint(target: Target, session: Any, service: str) -> str:
    """The endpoint that somebody wrote down, "" where botocore is to find AWS. Service-specific settings come first."""
    own = os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}")
    named = target.endpoint or own or os.environ.get("AWS_ENDPOINT_URL")
    return str(named or session.get_scoped_config().get("endpoint_url") or "")
