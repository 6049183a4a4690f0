"""Cases by name that others got wrong, or that an operator meets: what is done, and what is told. docs/cutover-cases.md
has them all, with those that stand elsewhere.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from threading import Timer

import pytest

from tests.e2e.work import Work
from tests.handover.both_sides import Site
from tests.handover.pooling import PoolingProxy
from tests.handover.test_cutover import assert_undone, cut, step, triggers, writing
from tests.handover.test_decision import after_the_fence
from tests.handover.test_fence import CLOSED, tried, tried_once
from tests.handover.test_killed import killed

ROOT = Path(__file__).parents[2]


def test_ctrl_c_between_the_fence_and_the_decision_undoes_it(shop: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    """Vitess could not cancel a switch, as the context of its lock was gone."""
    after_the_fence(monkeypatch, lambda: os.kill(os.getpid(), signal.SIGINT))
    with writing(shop) as application:
        said = shop.call("cutover", "--yes", code=130).output
        assert "Stopped before the decision, and undone: the application continues at the source." in said.replace(
            "\n", ""
        )
        monkeypatch.undo()
        assert_undone(shop, application)


def test_a_transaction_that_is_open_at_the_fence_and_commits_is_there(shop: Work) -> None:
    """Vitess switched, and lost what such transactions committed afterwards: it did not lock the tables."""
    with closing(shop.source.connect(shop.database, user="app", autocommit=False)) as pooled:
        assert tried(pooled, "INSERT INTO purchase VALUES ('long', 'o', 'p', 1)") == 0
        commit = Timer(0.7, pooled.commit)
        commit.start()
        assert cut(shop)["side"] == "dynamodb"
        commit.join()
        assert tried(pooled, "INSERT INTO purchase VALUES ('long', 'o', 'q', 1)") == CLOSED  # a session of the pool
    key = {"customerid": {"S": "long"}, "orderid": {"S": "o"}}
    item = shop.endpoint.client().get_item(TableName=shop.target, Key=key, ConsistentRead=True)["Item"]
    assert item == key | {"p": {"N": "1"}}


@pytest.fixture
def proxy(shop: Work) -> Iterator[PoolingProxy]:
    if shop.source.flavor == "mysql":
        pytest.skip("the proxy speaks no TLS")
    with closing(PoolingProxy(shop.source)) as proxy:
        yield proxy


def test_behind_a_proxy_that_pools_sessions_it_is_refused(shop: Work, proxy: PoolingProxy) -> None:
    """gh-ost locked itself out: its lock was in one session, and its next statement in another."""
    project = shop.folder / "whimbrel.toml"
    project.write_text(project.read_text().replace(f":{shop.source.port}/", f":{proxy.port}/"))
    said = shop.call("cutover", "--yes", code=2).output
    assert "error[NotReady]" in said
    assert "the lock was granted to another session than the one that answers: a proxy in between pools" in said
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")


def by_hand() -> tuple[str, str]:
    """The statements of docs/cutover.md that name the triggers to drop, and give up the coordinator's rows."""
    page = (ROOT / "docs" / "cutover.md").read_text().partition("## Removing the fence by hand")[2]
    select, update = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)[:2]
    return select, update


@pytest.mark.slow
def test_a_fence_that_whimbrel_left_is_removed_by_hand(shop: Work) -> None:
    """As docs/cutover.md says; and whimbrel goes on."""
    select, update = by_hand()
    assert killed(shop, 9)
    assert (triggers(shop), step(shop)) == (3, "CUTTING")
    drops = [drop for (drop,) in shop.source.execute(select) if shop.database in drop]
    assert len(drops) == 3
    shop.source.execute(*drops, update, database=shop.database)
    shop.source.execute("UPDATE purchase SET quantity = 7", database=shop.database)
    shop.call("migrate", "--until-caught-up")
    assert (triggers(shop), step(shop)) == (0, "FOLLOWING")
    shop.call("verify")
    assert cut(shop)["side"] == "dynamodb"


@pytest.mark.slow
def test_a_fence_that_is_removed_by_hand_after_the_decision_is_made_again(shop: Work) -> None:
    assert killed(shop, 11)
    assert step(shop) == "DECIDED"
    [(name,)] = shop.source.execute(
        f"SELECT TRIGGER_NAME FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{shop.database}' "
        "AND EVENT_MANIPULATION = 'DELETE'"
    )
    shop.source.execute(f"DROP TRIGGER `{name}`", database=shop.database)
    said = "".join(shop.call("cutover", "--yes").output.splitlines())
    assert f"The fence is made again: the trigger {name} of {shop.database}.purchase is gone." in said
    assert (triggers(shop), step(shop)) == (3, "OPEN")
    assert tried_once(shop.source.connect(shop.database, user="app"), "DELETE FROM purchase") == CLOSED


@pytest.mark.slow
@pytest.mark.parametrize("source_server", ["mariadb", "mysql"], indirect=True)
def test_privileges_of_the_way_back_that_are_revoked_are_told_and_nothing_is_lost(site: Site) -> None:
    """While it follows DynamoDB back. Once they are granted again the same command continues."""
    right = f"UPDATE ON `{site.work.database}`.*"
    customer = {"customerid": {"S": "c"}, "name": {"S": "C"}, "visits": {"N": "1"}}
    site.work.run("migrate", "--until-caught-up")
    site.work.run("verify")
    site.said("cutover", "--until-open")
    site.client.put_item(TableName=site.settings.customer, Item=customer)
    site.work.source.execute(f"REVOKE {right} FROM 'back'@'%'")
    site.client.put_item(TableName=site.settings.customer, Item=customer | {"visits": {"N": "2"}})
    said = site.work.run("cutover", "--yes", code=2).stderr
    assert "error[PrivilegeError]" in said
    assert "UPDATE command denied to user 'back'" in said
    assert site.step() == "OPEN"
    site.work.source.execute(f"GRANT {right} TO 'back'@'%'")
    assert site.said("rollback")["side"] == "mysql"
    rows = site.work.source.execute("SELECT customerid, visits FROM customer", database=site.work.database)
    assert rows == (("c", 2),)
