"""What check finds about the source itself; the faults of the preflight are tested one by one in tests/snapshot."""

# ruff: noqa: E501
from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest

from tests.checks.case import GROUP, PURCHASE, RECORD, Case
from whimbrel.checks.source import (
    SourceFacts,
    replica_findings,
    retention_findings,
    retention_seconds,
    setting_findings,
)
from whimbrel.mysql.connect import ServerInfo, connect
from whimbrel.mysql.grants import Grant, may

TABLE = "CREATE TABLE t (id INT PRIMARY KEY, v VARCHAR(9), at DATETIME)"


@contextmanager
def settings(case: Case, good: str, *bad: str) -> Iterator[None]:
    """The server's global variables as ``bad`` says, and afterwards as ``good`` does."""
    try:
        for each in bad:
            case.execute(f"SET GLOBAL {each}")
        yield
    finally:
        case.execute(f"SET GLOBAL {good}")


def test_nothing_is_found_where_nothing_is_wrong(case: Case) -> None:
    """A whole report without a single finding: on a server with row metadata, for an account that may see everything."""
    case.execute(
        PURCHASE, "INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1), ('c1', 'o1', 'p2', 2), ('c2', 'o1', 'p1', 1)"
    )
    case.user, case.password = f"all_{case.database}"[:30], "secret"
    case.execute(f"CREATE USER '{case.user}'@'%' IDENTIFIED BY 'secret'", f"GRANT ALL ON *.* TO '{case.user}'@'%'")
    case.project(GROUP, "purchase")
    with settings(case, "binlog_row_metadata = DEFAULT", "binlog_row_metadata = FULL"):
        assert case.check() == {}
    table = case.report["tables"][0]
    assert (table["rows"], table["exact"], table["items"], table["sizes"]["sampled"]) == (3, True, 2, 2)
    assert case.report["source"]["flavor"] == case.source.flavor
    text = case.call("check").output
    assert "3 rows make about 2 items of" in text
    assert "Ready." in text


def test_an_unreachable_source(on_mariadb: Case) -> None:
    on_mariadb.password = "wrong"
    on_mariadb.project(RECORD)
    found = on_mariadb.check()
    assert on_mariadb.database not in str(found)
    assert found["source-unreachable"][0]["place"].endswith(str(on_mariadb.source.port))
    assert "wrong" not in str(on_mariadb.report)


def test_tables_that_cannot_be_migrated(on_mariadb: Case) -> None:
    on_mariadb.execute("CREATE TABLE t (id INT)")
    on_mariadb.project(RECORD)
    assert f"{on_mariadb.database}.t: has no primary key" in on_mariadb.reason("no-key")
    on_mariadb.execute("DROP TABLE t", "CREATE TABLE t (id INT PRIMARY KEY) ENGINE = MyISAM")
    assert "engine MyISAM has no transactions" in on_mariadb.reason("engine")
    on_mariadb.project(RECORD, "missing")
    assert "does not exist" in on_mariadb.reason("table-unsupported")
    on_mariadb.execute("CREATE VIEW missing AS SELECT * FROM t")
    assert "is a view" in on_mariadb.reason("table-unsupported")


def test_a_mapping_that_does_not_fit(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project('shape = "record"\npartition_key = { name = "nothing" }')
    assert "'nothing'" in on_mariadb.reason("mapping")


SETTINGS = [
    ("binlog_row_image", "MINIMAL", "FULL"),
    ("binlog_format", "STATEMENT", "ROW"),
]


@pytest.mark.parametrize(("name", "bad", "good"), SETTINGS)
def test_settings_of_the_binlog(on_mariadb: Case, name: str, bad: str, good: str) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    with settings(on_mariadb, f"{name} = {good}", f"{name} = {bad}"):
        assert f"{name}: is {bad}, must be {good}" in on_mariadb.reason(name.replace("_", "-"))
    assert name.replace("_", "-") not in on_mariadb.check()


def test_partial_json(on_mysql: Case) -> None:
    on_mysql.execute(TABLE)
    on_mysql.project(RECORD)
    with settings(on_mysql, "binlog_row_value_options = ''", "binlog_row_value_options = PARTIAL_JSON"):
        assert "PARTIAL_JSON" in on_mysql.reason("partial-json")


def test_row_metadata(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    assert "row-metadata" in on_mariadb.check()
    with settings(on_mariadb, "binlog_row_metadata = DEFAULT", "binlog_row_metadata = FULL"):
        assert "row-metadata" not in on_mariadb.check()


def test_retention(case: Case) -> None:
    case.execute(TABLE)
    case.project(RECORD)
    assert "retention" not in case.check()
    with settings(case, "binlog_expire_logs_seconds = 2592000", "binlog_expire_logs_seconds = 7200"):
        assert "kept for 2.0 hours" in case.reason("retention")


def test_retention_by_size_and_by_days() -> None:
    facts = SourceFacts("mariadb", "11.4.2", True, 0, 1_000_000_000, 1, 1)
    assert "5.6 hours" in next(retention_findings(facts, 60, 50_000)).reason
    assert not list(retention_findings(facts, 60, 1_000))
    assert retention_seconds({"expire_logs_days": "2.000000", "binlog_expire_logs_seconds": "0"}) == 172_800
    assert retention_seconds({"binlog_expire_logs_auto_purge": "OFF", "binlog_expire_logs_seconds": "10"}) == 0
    slow = SourceFacts("mysql", "8.4.0", True, 172_800, 0, 1, 1)
    assert "load takes about 30.0" in next(retention_findings(slow, 30 * 3600, 0)).reason


def test_retention_on_rds(on_mariadb: Case) -> None:
    """Amazon's own table says how long; the server's variables do not matter there."""
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    on_mariadb.execute("CREATE TABLE mysql.rds_configuration (name VARCHAR(100), value VARCHAR(100))")
    try:
        on_mariadb.execute("INSERT INTO mysql.rds_configuration VALUES ('binlog retention hours', '12')")
        assert "kept for 12.0 hours" in on_mariadb.reason("retention")
        on_mariadb.execute("UPDATE mysql.rds_configuration SET value = NULL")
        assert "kept for 0.1 hours" in on_mariadb.reason("retention")
    finally:
        on_mariadb.execute("DROP TABLE mysql.rds_configuration")


def test_settings_that_only_some_servers_have() -> None:
    plain = ServerInfo("mysql", (9, 7, 4), "uuid", 1, gtid=False)
    assert [each.code for each in setting_findings(plain, {"gtid_mode": "OFF"})] == ["gtid-off"]
    cluster = ServerInfo("mariadb", (10, 11, 6), "1:0", 1, gtid=True)
    assert [each.code for each in setting_findings(cluster, {"wsrep_on": "ON", "binlog_row_metadata": "NO_LOG"})] == [
        "row-metadata",
        "galera",
    ]
    for name in ("binlog_transaction_compression", "log_bin_compress"):
        [compressed] = setting_findings(cluster, {name: "ON"})
        assert (compressed.code, compressed.place) == ("binlog-compressed", name)
    assert not list(setting_findings(cluster, {"wsrep_on": "OFF", "binlog_row_metadata": "FULL"}))


@pytest.mark.parametrize(("flavor", "version"), [("mysql", (8, 0, 40)), ("mysql", (8, 4, 7)), ("mariadb", (10, 6, 1))])
def test_a_release_that_the_tests_do_not_run_on_is_named(flavor: str, version: tuple[int, int, int]) -> None:
    [untested] = setting_findings(ServerInfo(flavor, version, "1:0", 1, gtid=True), {})
    assert untested.code == "server-untested"
    assert untested.reason == f"is {flavor} {'.'.join(map(str, version))}"


def test_the_suites_own_servers_are_not_called_untested(case: Case) -> None:
    case.execute(TABLE)
    case.project(RECORD)
    assert "server-untested" not in case.check()


@pytest.mark.parametrize("kind", ["VIRTUAL", "STORED"])
def test_generated_columns_are_refused_where_the_binlog_lacks_them(case: Case, kind: str) -> None:
    case.execute(f"CREATE TABLE t (id INT PRIMARY KEY, n INT, twice INT AS (n * 2) {kind})")
    case.project(RECORD)
    assert ("generated-column" in case.check()) == (case.source.name == "mariadb-11.8")


def test_sessions_that_kept_the_old_setting(on_mysql: Case) -> None:
    on_mysql.execute(TABLE)
    on_mysql.project(RECORD)
    assert "session-settings" not in on_mysql.check()
    with closing(on_mysql.source.connect()) as other:
        other.cursor().execute("SET SESSION binlog_row_image = MINIMAL")
        assert "binlog_row_image: 1 open sessions have MINIMAL, one of them of user admin" in on_mysql.reason(
            "session-settings"
        )


def test_statements_in_the_recent_binlog(case: Case) -> None:
    case.execute(TABLE, "FLUSH BINARY LOGS")
    case.project(RECORD)
    assert "statement-changes" not in case.check()
    with closing(case.source.connect(case.database)) as other:
        other.cursor().execute("SET SESSION binlog_format = STATEMENT")
        other.cursor().execute("INSERT INTO t VALUES (1, 'x', NULL)")
    assert "INSERT INTO t" in case.reason("statement-changes")
    # Other tests read the recent binlog of this server, too.
    last = case.execute("FLUSH BINARY LOGS", "SHOW BINARY LOGS")[-1][0]
    while case.execute("SHOW BINARY LOGS")[0][0] != last:  # a reader that was just closed may hold a file back
        case.execute(f"PURGE BINARY LOGS TO '{last}'")


def test_a_replica_that_stands_still(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    on_mariadb.execute("CHANGE MASTER 'far' TO MASTER_HOST = 'far.example.com'")
    try:
        on_mariadb.execute("GRANT SLAVE MONITOR ON *.* TO whimbrel@'%'")
        found = on_mariadb.check()
        assert found["source-is-replica"][0]["reason"] == "it replicates from far.example.com"
        assert found["replica-behind"][0]["reason"] == "its replication from far.example.com does not run"
    finally:
        on_mariadb.execute("REVOKE SLAVE MONITOR ON *.* FROM whimbrel@'%'", "RESET SLAVE 'far' ALL")


def test_an_account_that_may_not_ask_about_replication(on_mariadb: Case) -> None:
    """Only a server that once replicated is in doubt."""
    with closing(connect(on_mariadb.source.source(on_mariadb.database))) as connection:
        [finding] = replica_findings(connection, {"gtid_slave_pos": "9-9-9"})
        assert finding.code == "replica-unknown"
        assert "SLAVE MONITOR" in finding.reason
        assert not list(replica_findings(connection, {"gtid_slave_pos": ""}))


def test_cascades_and_triggers(on_mariadb: Case) -> None:
    on_mariadb.execute(
        "CREATE TABLE parent (id INT PRIMARY KEY)",
        "CREATE TABLE t (id INT PRIMARY KEY, p INT, n INT, CONSTRAINT k FOREIGN KEY (p) REFERENCES parent (id) ON DELETE SET NULL ON UPDATE CASCADE)",
        "CREATE TRIGGER counted BEFORE INSERT ON t FOR EACH ROW SET NEW.n = 1",
    )
    on_mariadb.project(RECORD)
    reason = on_mariadb.reason("cascade")
    assert "foreign key k has ON DELETE SET NULL" in reason
    assert "foreign key k has ON UPDATE CASCADE" in reason
    assert "the account has no TRIGGER" in on_mariadb.reason("triggers-unknown")
    on_mariadb.execute(f"GRANT TRIGGER ON `{on_mariadb.database}`.* TO whimbrel@'%'")
    found = on_mariadb.check()
    assert "triggers-unknown" not in found
    assert found["triggers"][0]["reason"] == "counted (before insert)"


def test_privileges(case: Case) -> None:
    """Without the lock under which MySQL's start is fixed where it does not show who commits; and without anything but
    SELECT.
    """
    case.execute(TABLE)
    case.user, case.password = f"few_{case.database}"[:30], "secret"
    replication = "REPLICATION SLAVE, REPLICATION CLIENT"
    case.execute(
        f"CREATE USER '{case.user}'@'%' IDENTIFIED BY 'secret'",
        f"GRANT SELECT ON {case.database}.* TO '{case.user}'@'%'",
        f"GRANT {replication} ON *.* TO '{case.user}'@'%'",
    )
    case.project(RECORD)
    remedy = f"GRANT SELECT, {replication} ON *.* TO '{case.user}'@'%'"
    if case.source.flavor == "mysql":
        found = case.check()
        assert "lacks SELECT on performance_schema" in found["privileges"][0]["reason"]
        assert found["privileges"][0]["remedy"] == remedy
        escaped = case.database.replace("_", "\\_")
        case.execute(f"GRANT LOCK TABLES ON `{escaped}`.* TO '{case.user}'@'%'")
    assert "privileges" not in case.check()
    case.execute(f"REVOKE {replication} ON *.* FROM '{case.user}'@'%'")
    assert "privileges" in case.check()
    case.execute(remedy)
    assert "privileges" not in case.check()


def test_grants_are_read_as_the_server_means_them() -> None:
    grants = [
        Grant(frozenset({"TRIGGER"}), r"shop\_1", "*"),
        Grant(frozenset({"ALL PRIVILEGES"}), "a_c%", "*"),
        Grant(frozenset({"SELECT"}), "x", "y"),
    ]
    assert may(grants, "TRIGGER", schema="shop_1")
    assert not may(grants, "TRIGGER", schema="shopx1")
    assert may(grants, "ANYTHING", schema="abcd")
    assert not may(grants, "ANYTHING", schema="bcd")
    assert may(grants, "SELECT", schema="x", table="y")
    assert not may(grants, "SELECT", schema="x", table="z")
    assert not may(grants, "TRIGGER")


def test_the_time_zone(on_mariadb: Case) -> None:
    on_mariadb.execute(TABLE)
    on_mariadb.project(RECORD)
    assert "time-zone" not in on_mariadb.check()
    with settings(on_mariadb, "time_zone = SYSTEM", "time_zone = '+05:30'"):
        assert "the server's time zone is +05:30: at" in on_mariadb.reason("time-zone")
