"""The other fences, from end to end on real servers: rights revoked, a schema made read-only.

Each is tried with an application that writes, is cut off before its decision and afterwards, and leaves nothing behind.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing
from typing import Any

import pytest

from demo.servers import SqlServer
from tests.e2e.work import Work
from tests.handover import test_cutover
from tests.handover.both_sides import Site
from tests.handover.closing import WIDE, WRITES, revoke
from tests.handover.conftest import Fenced, set_up
from tests.handover.test_cutover import cut, step
from tests.handover.test_fence import tried
from tests.handover.test_plan import codes, plan
from tests.handover.writers import Application, at_dynamodb, at_source
from whimbrel.handover.fence import Fence
from whimbrel.mysql.connect import connect
from whimbrel.mysql.revoking import exempt_of, under_way
from whimbrel.project import Cutover

DENIED, READ_ONLY, DEADLOCK = 1142, 3989, 1213


@pytest.fixture
def shop_of(make_shop: Callable[[SqlServer], Work], request: pytest.FixtureRequest) -> Callable[[str], Work]:
    return lambda name: make_shop(request.getfixturevalue(name))


@pytest.fixture(params=["mariadb", pytest.param("mysql", marks=pytest.mark.slow)])
def revoking(request: pytest.FixtureRequest, shop_of: Callable[[str], Work]) -> Iterator[Work]:
    """A shop whose application's account, another one for each test, may write to its table alone."""
    work = shop_of(request.param)
    user = f"clerk{work.database[-6:]}"
    work.source.execute(
        f"CREATE USER {user}@'%' IDENTIFIED BY '{work.source.password}'",
        f"GRANT SELECT ON `{work.database}`.* TO {user}@'%'",
        f"GRANT {WRITES} ON `{work.database}`.purchase TO {user}@'%'",
        f"GRANT {WRITES} ON `{work.database}`.* TO 'whimbrel'@'%' WITH GRANT OPTION",
        "GRANT PROCESS ON *.* TO 'whimbrel'@'%'",
    )
    others = {f"{name}@{host}" for name, host in work.source.execute(WIDE)} | {
        f"{name}@{host}"
        for name, host in work.source.execute(f"SELECT User, Host FROM mysql.db WHERE Db = '{work.database}'")
        if name not in (user, "whimbrel")
    }
    waived = json.dumps(sorted(others))
    set_up(work, f'fence = "revoke"\nrevoke_from = ["{user}@%"]\nwaived_accounts = {waived}')
    yield work
    work.source.execute(f"DROP USER {user}@'%'")


def clerk(work: Work) -> str:
    return f"clerk{work.database[-6:]}"


def rights(work: Work) -> set[str]:
    found = work.source.execute(
        f"SELECT Table_priv FROM mysql.tables_priv WHERE User = '{clerk(work)}' AND Db = '{work.database}'"
    )
    return {right for (text,) in found for right in str(text).split(",")}


def writing(work: Work, user: str, refused: tuple[int, ...]) -> AbstractContextManager[Application]:
    return test_cutover.writing(work, connections=3, user=user, refused=refused)


def goes_on(work: Work, application: Application) -> None:
    """At the source, and the migration with it."""
    before = application.acknowledged
    work.wait_for(lambda: application.acknowledged > before + 20)
    application.stop()
    work.call("migrate", "--until-caught-up")
    assert at_source(work.source, work.database) == application.lines
    assert at_dynamodb(work.endpoint, work.target) == application.expected()


def is_open(work: Work, application: Application) -> None:
    before = application.refused
    work.wait_for(lambda: application.refused > before + 20)
    application.stop()
    assert step(work) == "OPEN"
    assert at_source(work.source, work.database) == application.lines
    assert at_dynamodb(work.endpoint, work.target) == application.expected()


# -- revoke ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_rights_are_revoked_and_nothing_acknowledged_is_lost(revoking: Work) -> None:
    before = rights(revoking)
    with writing(revoking, clerk(revoking), (DENIED,)) as application:
        said = cut(revoking)
        assert rights(revoking) == set()
        is_open(revoking, application)
    print(f"{revoking.source.name}: stall {said['stall_ms']} ms")
    [(give_back,)] = revoking.source.execute("SELECT give_back FROM whimbrel_revoked", database=revoking.database)
    assert "TO `clerk" in give_back
    revoking.run("finish", "--yes")
    assert rights(revoking) == before
    assert tables(revoking) == {"purchase"}


@pytest.mark.slow
def test_what_was_revoked_is_given_back_exactly_when_it_is_undone(revoking: Work) -> None:
    """With the rights that are not writes, and the right to grant them, as they were."""
    revoking.source.execute(f"GRANT ALL ON `{revoking.database}`.purchase TO {clerk(revoking)}@'%' WITH GRANT OPTION")
    more = "ALTER, DROP" + (", DELETE HISTORY" if revoking.source.flavor == "mariadb" else "")
    revoking.source.execute(f"GRANT {more} ON `{revoking.database}`.* TO 'whimbrel'@'%'")
    before = rights(revoking)
    revoking.target_settings = revoking.target_settings.replace("max_stall = 20", "max_stall = 0.001")
    revoking.write_project()
    with writing(revoking, clerk(revoking), (DENIED,)) as application:
        said = revoking.call("cutover", "--yes", code=3).output
        assert "error[CutoverUndone]: " in said
        assert rights(revoking) == before
        goes_on(revoking, application)
    assert "whimbrel_revoked" not in tables(revoking)


@pytest.mark.slow
def test_everybody_who_could_still_write_is_refused_by_name(revoking: Work) -> None:
    """A grant on the schema is kept by connections that are open; a role is others' to take on."""
    database, user = revoking.database, clerk(revoking)
    execute = revoking.source.execute
    execute(
        f"CREATE USER wide{user}@'%' IDENTIFIED BY 'x'",
        f"GRANT UPDATE ON `{database}`.* TO wide{user}@'%'",
        f"CREATE USER narrow{user}@'%' IDENTIFIED BY 'x'",
        f"GRANT UPDATE (quantity) ON `{database}`.purchase TO narrow{user}@'%'",
        f"CREATE ROLE role{user}",
        f"GRANT DELETE ON `{database}`.purchase TO role{user}",
        f"GRANT role{user} TO {user}@'%'",
    )
    role = f"role{user}@" if revoking.source.flavor == "mariadb" else f"role{user}@%"
    try:
        named = f'["{user}@%", "wide{user}@%", "{role}", "nobody@%"]'
        revoking.target_settings = revoking.target_settings.replace(f'["{user}@%"]', named)
        if revoking.source.flavor == "mariadb":  # no account has such a host
            revoking.target_settings = revoking.target_settings.replace(f', "{role}"', "")
        revoking.write_project()
        found = codes(plan(revoking, code=2))["cutover-accounts"]
        assert f"wide{user}@%: has UPDATE on its schema ({database}.purchase): only what is granted" in found
        assert f"narrow{user}@%: has UPDATE on columns of it ({database}.purchase): it is neither in" in found
        assert f"{role}: has DELETE on the table, as a role" in found
        assert "nobody@%: there is no such account" in found
        assert f"\n{user}@%" not in f"\n{found}"
        assert "error[NotReady]" in revoking.call("cutover", "--yes", code=2).output
        assert "Insert" in rights(revoking)
    finally:
        execute(f"DROP USER wide{user}@'%', narrow{user}@'%'", f"DROP ROLE role{user}")


@pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)
def test_a_statement_that_had_its_rights_is_seen_until_it_has_ended(fenced: Fenced) -> None:
    """It waits for the table when they are revoked, and writes once it may: also after a lock that was asked later. A
    waived account of the same user, at another host, is no reason not to wait for it.
    """
    fenced.server.execute("GRANT PROCESS ON *.* TO 'whimbrel'@'%'")
    settings = Cutover(revoke_from=("app@%",), waived_accounts=("app@localhost", "root@localhost"))
    with closing(connect(fenced.source)) as ours:
        exempt = exempt_of(ours, settings)
    with closing(fenced.session("admin")) as holder, closing(fenced.session()) as app:
        tried(holder, "LOCK TABLES t READ")
        writer = threading.Thread(target=tried, args=(app, "INSERT INTO t VALUES (7, 7)"))
        writer.start()
        with closing(connect(fenced.source)) as ours:
            end = time.monotonic() + 20
            while not (mine := {each for each in under_way(ours, exempt) if each.user == "app"}):
                assert time.monotonic() < end
            assert mine <= under_way(ours, exempt)
            tried(holder, "UNLOCK TABLES")
            writer.join()
            assert not mine & under_way(ours, exempt)
    assert fenced.sql("SELECT v FROM t WHERE id = 7") == ((7,),)


@pytest.mark.slow
def test_a_long_statement_from_before_undoes_it(revoking: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    revoking.target_settings = revoking.target_settings.replace("max_stall = 20", "max_stall = 1")
    revoking.write_project()
    with closing(revoking.source.connect(revoking.database, user=clerk(revoking))) as slow:
        runner = threading.Thread(target=tried, args=(slow, "SELECT SLEEP(30)"))
        runner.start()
        said = revoking.call("cutover", "--yes", code=3).output
        revoking.source.execute(f"KILL QUERY {slow.thread_id()}")
        runner.join()
    assert f"a statement of '{clerk(revoking)}'" in said
    assert "Insert" in rights(revoking)


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb", "mariadb-11.8", "mysql"], indirect=True)
def test_there_and_back_by_revoked_rights(site: Site) -> None:
    """The reverse stream's account goes on writing; at the return the rights are as they were, and writes are taken."""
    work = site.work
    revoke(site)
    before = rights(work)
    with site.application():
        site.wait_for_writes("mysql")
        work.run("migrate", "--until-caught-up")
        work.run("verify")
        assert site.said("cutover", "--until-open")["past_fence"] == 0
        assert rights(work) == set()
        with site.following():
            site.wait_for_writes("dynamodb")
        assert site.said("rollback")["side"] == "mysql"
        assert rights(work) == before
        site.wait_for_writes("mysql")
    assert site.at_mysql() == []
    work.run("migrate", "--until-caught-up")
    work.run("verify")
    assert site.at_dynamodb() == []
    work.source.execute(f"DROP USER {clerk(work)}@'%'")


# -- a schema that is read-only ----------------------------------------------------------------------------------------


def read_only(work: Work) -> bool:
    [(options,)] = work.source.execute(
        f"SELECT OPTIONS FROM information_schema.SCHEMATA_EXTENSIONS WHERE SCHEMA_NAME = '{work.database}'"
    )
    return "READ ONLY=1" in str(options)


def closing_schema(work: Work) -> Work:
    own = f"own_{work.database}"
    work.source.execute(
        f"CREATE SCHEMA {own}",
        f"GRANT CREATE, DROP, SELECT, INSERT, UPDATE, DELETE, LOCK TABLES ON {own}.* TO 'whimbrel'@'%'",
        f"GRANT ALTER ON `{work.database}`.* TO 'whimbrel'@'%'",
        f"CREATE TABLE `{work.database}`.beside (id INT PRIMARY KEY)",
    )
    set_up(work, f'fence = "read-only-schema"\nschema = "{own}"')
    return work


@pytest.mark.slow
def test_a_schema_is_closed_as_a_whole(shop_of: Callable[[str], Work]) -> None:
    work = closing_schema(shop_of("mysql"))
    found = codes(plan(work))
    assert found["cutover-closed-too"] == f"{work.database}: beside"
    assert "cutover-no-way-back" in found
    assert not read_only(work)
    with writing(work, "app", (READ_ONLY, DEADLOCK)) as application:
        said = cut(work)
        assert read_only(work)
        is_open(work, application)
    print(f"stall {said['stall_ms']} ms")
    assert "the cutover was made without a way back" in work.call("rollback", "--yes", code=3).output
    assert step(work) == "OPEN"
    assert "READ ONLY" in work.run("finish", "--yes", "--json").stdout
    assert not read_only(work)


@pytest.mark.slow
def test_a_schema_is_open_again_when_it_is_undone(
    shop_of: Callable[[str], Work], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here somebody opens it, writes, and closes it again, before it is sealed."""
    work = closing_schema(shop_of("mysql"))
    real = Fence.close

    def closed(fence: Fence, *arguments: Any) -> Any:
        done = real(fence, *arguments)
        work.source.execute(
            f"ALTER SCHEMA `{work.database}` READ ONLY = 0",
            f"INSERT INTO `{work.database}`.purchase VALUES ('past', 'o', 'p', 1)",
            f"ALTER SCHEMA `{work.database}` READ ONLY = 1",
        )
        return done

    monkeypatch.setattr(Fence, "close", closed)
    with writing(work, "app", (READ_ONLY, DEADLOCK)) as application:
        assert "changes were written after writes were closed" in work.call("cutover", "--yes", code=3).output
        assert not read_only(work)
        work.source.execute("DELETE FROM purchase WHERE customerid = 'past'", database=work.database)
        goes_on(work, application)


@pytest.mark.slow
def test_a_server_without_read_only_schemas_is_named(shop: Work) -> None:
    set_up(shop, f'fence = "read-only-schema"\nschema = "{shop.database}"')
    found = codes(plan(shop, code=2))["cutover-fence"]
    if shop.source.flavor == "mariadb":
        assert "has no READ ONLY schemas: MySQL 8.0.22 has" in found
    else:
        assert f"{shop.database} would be read-only, too" in found


def tables(work: Work) -> set[str]:
    return {str(name) for (name,) in work.source.execute("SHOW TABLES", database=work.database)}
