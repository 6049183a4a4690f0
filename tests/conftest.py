"""Real servers for the tests, each started once for a pytest process (three times under ``-n 3``) when a test first
asks for it.

A server of a session is private to its process, and tests in a process run one after another: a test may stop, kill or
restart it, as long as it runs again at the end. Databases and DynamoDB tables have names of their own, so nothing is
cleaned between tests.
"""

from __future__ import annotations

import functools
import gc
import logging
import os
import sys
import uuid
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import botocore.session
import pytest
from botocore.hooks import EventAliaser
from hypothesis import HealthCheck, Phase, settings

from demo.servers import (
    Dynalite,
    DynamoDBLocal,
    DynamoServer,
    Kinesalite,
    MariaDB,
    MariaDB118,
    Ministack,
    MySQL,
    PostgreSQL,
    Server,
    ServerUnavailable,
    SqlServer,
)
from tests.in_memory import use_memory

use_memory()

# What botocore knows of AWS's services is read from its files once for a process, and not by each session again: every
# command that a test calls makes some. So are the hundred names of events that each session gives other names.
botocore.session.create_loader = functools.cache(botocore.session.create_loader)
EventAliaser._alias_event_name = staticmethod(functools.cache(EventAliaser(None)._alias_event_name))  # type: ignore

# Programs that came with the tests' packages, such as the AWS CLI.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

# No test may reach AWS, whatever the person's own settings say.
for name in [name for name in os.environ if name.startswith("AWS_") and not name.endswith("_CA_BUNDLE")]:
    del os.environ[name]
os.environ.update(
    AWS_ACCESS_KEY_ID="local",
    AWS_SECRET_ACCESS_KEY="local",
    AWS_DEFAULT_REGION="us-east-1",
    AWS_CONFIG_FILE=os.devnull,
    AWS_SHARED_CREDENTIALS_FILE=os.devnull,
    AWS_EC2_METADATA_DISABLED="true",
)

# How long an example takes says more about the machine's neighbours than about the code.
settings.register_profile("suite", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("suite")

# For `make mutants`: the same examples each time, and a failure is enough, however large.
settings.register_profile(
    "mutants", deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate]
)

SOURCES: dict[str, type[SqlServer]] = {"mariadb": MariaDB, "mysql": MySQL, "mariadb-11.8": MariaDB118}
# What a release of a server may do in its own way: these run on every server, also in `make test`. The others run on a
# later release of MariaDB in `make test-all`.
ON_EVERY_SERVER = ("test_servers.py", "binlog/", "snapshot/test_source.py", "snapshot/test_values.py")
ENDPOINTS: dict[str, type[DynamoServer]] = {"ministack": Ministack, "dynalite": Dynalite}
if "WHIMBREL_DYNAMODB_LOCAL" in os.environ:
    ENDPOINTS["dynamodb-local"] = DynamoDBLocal

S = TypeVar("S", bound=Server)
_STARTED: list[Server] = []  # of this process's session


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish() -> None:
    """What `make coverage` counted in this process is saved here, and not at its very end: a worker that takes more
    than ten seconds over its end is killed.
    """
    if (coverage := sys.modules.get("coverage")) and (counted := coverage.Coverage.current()):
        counted.save()
    gc.unfreeze()  # nanobind, of DuckDB, says at the end what it thinks was left over


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Thousands of tests are made, which are there to the end: to look through them for garbage, again and again
    meanwhile, took as long as making them.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


def pytest_collection_finish() -> None:
    """Nor are they looked through later. What comes now is looked through as rarely as in whimbrel's commands."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as slow what `make test` leaves to `make test-all` on a later release."""
    everywhere = tuple(str(Path(__file__).parent / each) for each in ON_EVERY_SERVER)
    for item in items:
        parameters = item.callspec.params.values() if isinstance(item, pytest.Function) and "[" in item.name else ()
        if MariaDB118.name in parameters and not str(item.path).startswith(everywhere):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(autouse=True)
def _logging_of_its_own() -> Iterator[None]:
    """A command that is run in the tests' process sets up logging for the process: the next test has it as it was."""
    loggers = [logging.getLogger(name) for name in ("whimbrel", "whimbrel.notes", "asyncio")]
    before = [(logger, logger.level, logger.propagate, list(logger.handlers)) for logger in loggers]
    raised = logging.raiseExceptions
    yield
    logging.raiseExceptions = raised
    for logger, level, propagate, handlers in before:
        logger.setLevel(level)
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.propagate, logger.handlers = propagate, handlers


@pytest.fixture
def tried_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits before a call is repeated, where nobody is there to answer."""
    monkeypatch.setattr("botocore.endpoint.time", SimpleNamespace(sleep=lambda _seconds: None))
    monkeypatch.setattr("whimbrel.dynamodb.pace.Backoff.next", lambda _self: 0.0)


@pytest.fixture(scope="session")
def server_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("servers")


@pytest.fixture(scope="session")
def mariadb(server_folder: Path) -> Iterator[MariaDB]:
    yield from started(MariaDB, server_folder)


@pytest.fixture(scope="session")
def mysql(server_folder: Path) -> Iterator[MySQL]:
    yield from started(MySQL, server_folder)


@pytest.fixture(scope="session")
def postgres(server_folder: Path) -> Iterator[PostgreSQL]:
    yield from started(PostgreSQL, server_folder)


@pytest.fixture(scope="session", name="mariadb-11.8")
def mariadb_11_8(server_folder: Path) -> Iterator[MariaDB118]:
    yield from started(MariaDB118, server_folder)


@pytest.fixture(scope="session")
def ministack(server_folder: Path) -> Iterator[Ministack]:
    yield from started(Ministack, server_folder)


@pytest.fixture(scope="session")
def dynalite(server_folder: Path) -> Iterator[Dynalite]:
    yield from started(Dynalite, server_folder)


@pytest.fixture(scope="session")
def kinesalite(server_folder: Path) -> Iterator[Kinesalite]:
    yield from started(Kinesalite, server_folder)


@pytest.fixture(scope="session", name="dynamodb-local")
def dynamodb_local(server_folder: Path) -> Iterator[DynamoDBLocal]:
    yield from started(DynamoDBLocal, server_folder)


@pytest.fixture(scope="session", params=list(SOURCES))
def source_server(request: pytest.FixtureRequest) -> SqlServer:
    """Each of SOURCES in turn."""
    server: SqlServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture(scope="session", params=list(ENDPOINTS))
def dynamodb_endpoint(request: pytest.FixtureRequest) -> DynamoServer:
    """ministack, then dynalite, then DynamoDB Local where the person has it."""
    server: DynamoServer = request.getfixturevalue(request.param)
    return server


@pytest.fixture
def database(source_server: SqlServer) -> str:
    """A new, empty database on ``source_server``."""
    return source_server.new_database()


@pytest.fixture
def new_table_name() -> Callable[[str], str]:
    """Gives a DynamoDB table name that no other test has, beginning with what is asked for."""
    return unique


def unique(prefix: str = "test") -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def without_coverage() -> dict[str, str]:
    """The environment of a process whose imports are counted: `make coverage` would import itself in it, and more."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}


def started(kind: type[S], folder: Path, **settings: Any) -> Iterator[S]:
    if "WHIMBREL_NO_SERVERS" in os.environ:  # as for `make mutants`, which runs a test thousands of times
        pytest.skip("no servers here")
    try:
        server = kind(folder / kind.name, **settings).start()
    except ServerUnavailable as reason:
        pytest.skip(str(reason))
    with server:
        _STARTED.append(server)
        yield server
        _STARTED.remove(server)


@pytest.fixture(autouse=True)
def servers_are_left_running() -> Iterator[None]:
    """A server that ended is the fault of the test that saw its end, and of none after it."""
    yield
    for server in _STARTED:
        if not server.running:
            tail = server.log_tail()
            server.start()
            pytest.fail(f"{server.name} had ended, and was started again. The end of its log:\n{tail}")
