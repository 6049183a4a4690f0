"""The whole way through a stream and a function, on real servers, while an application writes."""

from __future__ import annotations

import json
import re
import shutil
import threading
from itertools import count

import pytest

from demo.servers import Dynalite, Kinesalite, MariaDB, Ministack, SqlServer
from demo.shop import LiveWriter, fill
from tests.e2e.conftest import MakeWork
from tests.e2e.stored import Stored
from tests.e2e.work import Work
from tests.function.served import Failures, Served


def through(work: Work, served: Served) -> None:
    work.target_settings = f"\n{served.project_lines}"
    work.write_project()


@pytest.mark.slow
@pytest.mark.parametrize(("server", "form"), [("mariadb", "packed"), ("mysql", "post")])
def test_a_live_table_is_migrated_verified_and_followed_through_a_stream(
    request: pytest.FixtureRequest,
    make_work: MakeWork,
    dynalite: Dynalite,
    kinesalite: Kinesalite,
    server: str,
    form: str,
) -> None:
    source: SqlServer = request.getfixturevalue(server)
    work = make_work(source, dynalite)
    rows = fill(source, work.database, 2_000)
    writer = LiveWriter(source, work.database, orders=rows // 4, rate=200)
    with Served(kinesalite, dynalite, form=form) as served:
        through(work, served)
        writer.start()
        with work.running("migrate") as process:
            work.wait_for(work.in_phase("apply"), process)
            live = json.loads(work.run("verify", "--json").stdout.splitlines()[-1])
            work.wait_for(lambda: writer.changes > 500, process)
            writer.stop()
        assert live["equal"]
        work.run("migrate", "--until-caught-up")
        work.assert_equal()
        assert work.verify()["rows"] > 0
        assert served.invocations > 0


@pytest.mark.parametrize("where", ["project file", "environment"])
def test_what_is_captured_arrives_through_a_stream(
    make_work: MakeWork,
    mariadb: MariaDB,
    dynalite: Dynalite,
    kinesalite: Kinesalite,
    ministack: Ministack,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    """The project file has the endpoints of the stand-ins; or none, as on AWS, and boto3 finds them itself."""
    work = make_work(mariadb, dynalite)
    fill(mariadb, work.database, 40)
    with Served(kinesalite, dynalite, failures=Failures(ministack)) as served:
        through(work, served)
        Stored(work, ministack)
        if where == "environment":
            for service, server in (("S3", ministack), ("SQS", ministack), ("KINESIS", kinesalite)):
                monkeypatch.setenv(f"AWS_ENDPOINT_URL_{service}", server.endpoint)
            work.target_settings = re.sub(r"endpoint = .*\n", "", work.target_settings)
            work.write_project()
        work.call("migrate", "--until-caught-up")
        mariadb.execute(f"UPDATE `{work.database}`.purchase SET quantity = quantity + 1")
        work.drain()
        work.call("retry-dead")
        work.assert_equal()
        assert served.invocations > 0


@pytest.mark.slow
def test_nothing_is_sent_before_the_load_is_complete(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite
) -> None:
    """The mapping is enabled from the start. No command sends in any phase before "apply", however it is asked to."""
    work = make_work(mariadb, dynalite)
    fill(mariadb, work.database, 40)
    with Served(kinesalite, dynalite) as served:
        through(work, served)
        for command, phase in (("capture", "snapshot"), ("snapshot", "load")):
            work.call(command, *(["--until-caught-up"] if command == "capture" else []))
            mariadb.execute(f"UPDATE `{work.database}`.purchase SET quantity = quantity + 1")
            work.call("capture", "--until-caught-up")
            assert work.checkpoint()["phase"] == phase
            for other in (["apply", "--until-caught-up"], ["refill", "purchase"]):
                assert "StateError" in work.call(*other, code=3).output
            work.call("retry-dead")
            assert served.records() == served.invocations == 0
        work.call("load")
        assert work.checkpoint()["phase"] == "apply"
        assert served.records() == 0
        work.drain()
        assert served.records() > 0
        work.assert_equal()


@pytest.mark.slow
def test_rows_are_written_past_the_stream_and_nobody_goes_on_without_it(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite
) -> None:
    work = make_work(mariadb, dynalite)
    fill(mariadb, work.database, 40)
    with Served(kinesalite, dynalite) as served:
        through(work, served)
        work.call("migrate", "--until-caught-up")
        mariadb.execute(f"UPDATE `{work.database}`.purchase SET quantity = quantity + 1")
        work.call("refill", "purchase")
        work.assert_nothing_lost()
    work.target_settings = ""
    work.write_project()
    assert "were sent to a stream" in work.call("migrate", "--until-caught-up", code=3).output


@pytest.mark.slow
def test_dead_letters_of_the_function_are_retried(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite
) -> None:
    """A row that is too large an item is refused by the function, and written when it is smaller."""
    work = make_work(mariadb, dynalite)
    work.table = "notes"
    work.mapping = 'shape = "record"\npartition_key = { name = "id", type = "N" }\n'
    mariadb.execute(f"CREATE TABLE `{work.database}`.notes (id INT PRIMARY KEY, body MEDIUMTEXT) CHARSET utf8mb4")
    with Served(kinesalite, dynalite) as served:
        through(work, served)
        work.call("migrate", "--until-caught-up")
        mariadb.execute(f"INSERT INTO `{work.database}`.notes VALUES (1, 'a'), (2, REPEAT('b', 410000)), (3, 'c')")
        work.call("capture", "--until-caught-up")
        work.call("apply", "--until-caught-up", code=4)  # done, with a dead letter
        [letter] = work.letters()
        assert (letter["phase"], letter["item_key"]) == ("apply", {"id": {"N": "2"}})
        mariadb.execute(f"UPDATE `{work.database}`.notes SET body = 'b'")
        work.call("capture", "--until-caught-up", code=4)
        work.call("retry-dead")
        assert work.letters() == []
        work.drain()
        assert work.verify()["rows"] == 3


@pytest.mark.slow
@pytest.mark.parametrize("form", ["packed", "post"])
def test_a_row_with_a_large_column_arrives_through_a_stream_as_it_does_without(
    make_work: MakeWork,
    mariadb: MariaDB,
    dynalite: Dynalite,
    kinesalite: Kinesalite,
    ministack: Ministack,
    monkeypatch: pytest.MonkeyPatch,
    form: str,
) -> None:
    """The column is not mapped, and in each change of its row."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint)  # of the function
    work = make_work(mariadb, dynalite)
    work.table = "notes"
    work.mapping = 'shape = "record"\npartition_key = { name = "id", type = "N" }\nexclude = ["scan"]\n'
    mariadb.execute(f"CREATE TABLE `{work.database}`.notes (id INT PRIMARY KEY, n INT, scan LONGBLOB)")
    with Served(kinesalite, dynalite, form=form) as served:
        through(work, served)
        codes = [each["code"] for each in json.loads(work.call("check", "--json").stdout)["findings"]]
        assert codes.count("stream-large-changes") == 1
        stored = Stored(work, ministack)
        work.call("migrate", "--until-caught-up")
        # Eight million bytes that zlib leaves as large as they are.
        noise = "(SELECT GROUP_CONCAT(RANDOM_BYTES(1000) SEPARATOR '') FROM seq_1_to_8000)"
        mariadb.execute(
            "SET group_concat_max_len = 9000000",
            f"INSERT INTO notes VALUES (1, 1, {noise}), (2, 2, 'small')",
            "UPDATE notes SET n = n + 10",
            f"UPDATE notes SET scan = {noise} WHERE id = 2",
            "UPDATE notes SET id = 3, n = 30 WHERE id = 2",
            "DELETE FROM notes WHERE id = 1",
            database=work.database,
        )
        work.call("capture", "--until-caught-up")
        work.drain()
        assert work.letters() == []
        assert stored.names("changes/")
        assert work.verify()["rows"] == 1
        assert "stream-large-changes" not in work.call("check", "--json").stdout


@pytest.mark.slow
def test_a_stream_that_cannot_be_used_is_said_before_anything_is_done(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite
) -> None:
    work = make_work(mariadb, dynalite)
    fill(mariadb, work.database, 40)
    served = Served(kinesalite, dynalite)
    work.target_settings = "\n" + served.project_lines.replace(served.name, "no-such-stream")
    work.write_project()
    found = json.loads(work.call("check", "--json", code=2).stdout)["findings"]
    assert [each["place"] for each in found if each["code"] == "target-stream"] == ["stream no-such-stream"]
    assert "stream no-such-stream" in work.call("migrate", code=3).output
    assert work.checkpoint()["phase"] == "new"


@pytest.mark.slow
def test_a_stream_of_another_migration_is_refused(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite
) -> None:
    with Served(kinesalite, dynalite) as served:
        for code in (0, 3):
            work = make_work(mariadb, dynalite)
            fill(mariadb, work.database, 40)
            through(work, served)
            done = work.call("migrate", "--until-caught-up", code=code)
            shutil.rmtree(work.state)
    assert "is used by the migration" in done.output
    assert "a stream of its own" in done.output


@pytest.mark.slow
def test_an_item_that_never_stands_still_is_verified_through_a_stream(
    make_work: MakeWork, mariadb: MariaDB, dynalite: Dynalite, kinesalite: Kinesalite
) -> None:
    """Twelve changes a second of one row, each with another value. One that is damaged does not hide behind them."""
    work = make_work(mariadb, dynalite)
    fill(mariadb, work.database, 40)
    ended, changes = threading.Event(), count(1_000)

    def change() -> None:
        with mariadb.connect(work.database, autocommit=True) as connection, connection.cursor() as cursor:
            while not ended.wait(1 / 12):
                cursor.execute(f"UPDATE purchase SET quantity = {next(changes)} ORDER BY customerid, orderid LIMIT 1")

    changing = threading.Thread(target=change)
    with Served(kinesalite, dynalite) as served:
        through(work, served)
        work.call("migrate", "--until-caught-up")
        changing.start()
        try:
            with work.running("migrate") as process:
                work.wait_for(lambda: served.invocations > 5, process)
                for _ in range(3):
                    assert json.loads(work.run("verify", "--json").stdout.splitlines()[-1])["equal"]
        finally:
            ended.set()
            changing.join()
