"""The convergence query of the published sample over two silos, as a report that is made again after each batch, and
the page that shows it. The judge is the source itself, which can join its two databases.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pytest

from demo.servers import MariaDB
from demo.sports import CONVERGED, make_sports, make_tickets
from tests.warehouse.places import Place

TICKETS = 4_000
REPORTS = """
[[report]]
name = "converged"
title = "What the tickets of each event cost"
sql = '''{sql}'''
chart = "bar"
up = "total"
[[report]]
name = "by_location"
sql = "SELECT location, SUM(total) AS total FROM reports.converged GROUP BY location ORDER BY location"
view = true
chart = "line"
up = "total"
[[report]]
name = "broken"
sql = "SELECT nothing FROM sourcemysql.sport_team"
"""


def test_the_convergence_query_over_two_silos(place: Place, mariadb: MariaDB) -> None:
    sports, tickets = mariadb.new_database(), mariadb.new_database()
    make_sports(mariadb, sports)
    make_tickets(mariadb, tickets, TICKETS)
    place.more = 'page = "reports.html"\n' + REPORTS.format(
        sql=CONVERGED.format(sports="sourcemysql", tickets="ticketing")
    )
    place.add("sourcemysql", mariadb, sports)
    place.add("ticketing", mariadb, tickets)
    place.converge()
    assert answers(place) == expected(mariadb, sports, tickets)
    mariadb.execute(
        "UPDATE sporting_event_ticket SET ticket_price = ticket_price * 2 WHERE id % 3 = 0",
        "DELETE FROM sporting_event_ticket WHERE id % 10 = 1",
        database=tickets,
    )
    mariadb.execute("UPDATE sport_team SET name = CONCAT('The <', id, '>') WHERE id < 20", database=sports)
    place.converge()
    assert answers(place) == expected(mariadb, sports, tickets)
    locations = dict(place.rows("SELECT location, total FROM reports.by_location"))
    assert round(float(sum(locations.values())), 2) == round(sum(row[4] for row in answers(place)), 2)
    shown = Texts()
    shown.feed((place.folder / "reports.html").read_text())
    assert "What the tickets of each event cost" in shown.texts
    assert "The <1>" in shown.texts
    assert any("nothing" in text for text in shown.texts)  # why the third has no answer
    assert shown.tags.count("polyline") == 1
    assert shown.tags.count("rect") > 100
    assert not {"script", "link", "img"} & set(shown.tags)


def answers(place: Place) -> list[tuple[Any, ...]]:
    return [rounded(row) for row in place.rows("SELECT * FROM reports.converged ORDER BY event")]


def expected(server: MariaDB, sports: str, tickets: str) -> list[tuple[Any, ...]]:
    rows = server.execute(CONVERGED.format(sports=f"`{sports}`", tickets=f"`{tickets}`"))
    assert len(rows) > 1_000
    return [rounded(row) for row in rows]


def rounded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """An average has as many digits as its engine likes."""
    return tuple(round(float(value), 3) if isinstance(value, Decimal | float) else value for value in row)


class Texts(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_reports_follow_a_source_that_is_followed(
    make_place: Callable[[str], Place], mariadb: MariaDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not only at the end: after each batch, and a view of the last one has the new rows."""
    import threading
    import time

    import whimbrel

    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", database=database)
    place = make_place("postgres")
    place.more = 'batch_seconds = 0.1\n[[report]]\nname = "counted"\nsql = "SELECT COUNT(*) AS n FROM one.t"\n'
    place.add("one", mariadb, database)
    stop = threading.Event()
    with place.environment():
        run = threading.Thread(
            target=whimbrel.converge, args=(place.project,), kwargs={"until_caught_up": False, "stop": stop}
        )
        run.start()
        try:
            until = time.monotonic() + 60
            for count in (1, 2):
                while counted(place) != count:
                    assert run.is_alive()
                    assert time.monotonic() < until
                    time.sleep(0.05)
                mariadb.execute(f"INSERT INTO t VALUES ({count + 1})", database=database)
        finally:
            stop.set()
            run.join()


def counted(place: Place) -> int:
    there = place.rows("SELECT 1 FROM information_schema.tables WHERE table_schema = 'reports'")
    return place.rows("SELECT n FROM reports.counted")[0][0] if there else 0


def test_a_report_of_two_statements_runs_neither(make_place: Callable[[str], Place], mariadb: MariaDB) -> None:
    database = mariadb.new_database()
    mariadb.execute("CREATE TABLE t (id INT PRIMARY KEY)", "INSERT INTO t VALUES (1)", database=database)
    place = make_place("duckdb")
    place.add("s", mariadb, database)
    for name, sql in (("two", "SELECT 1; DROP TABLE s.t"), ("good", "SELECT count(*) AS n FROM s.t -- ; all")):
        place.silos.append(f'[[report]]\nname = "{name}"\nsql = "{sql}"\n')
    place.write()
    place.converge()
    assert place.rows("SELECT n FROM reports.good") == [(1,)]
    assert place.rows("SELECT COUNT(*) FROM information_schema.tables WHERE table_name = 'two'") == [(0,)]
    assert place.verify().equal
