"""Two silos of made-up data, in the shape of the public sample of "Converging Data Silos to Amazon Redshift Using AWS
DMS": sports with their teams, players and events in one database, and the tickets for them in another.
"""

from __future__ import annotations

import random
import threading
import time

from demo.servers import SqlServer

TEAMS, PLAYERS, EVENTS = 62, 5_157, 1_142
SPORTS = """
CREATE TABLE sport_type (name VARCHAR(15) PRIMARY KEY, description VARCHAR(120));
CREATE TABLE sport_league (sport_type_name VARCHAR(15), short_name VARCHAR(10), long_name VARCHAR(60),
  description VARCHAR(120), PRIMARY KEY (sport_type_name, short_name));
CREATE TABLE sport_division (sport_type_name VARCHAR(15), sport_league_short_name VARCHAR(10), short_name VARCHAR(10),
  long_name VARCHAR(60), PRIMARY KEY (sport_type_name, sport_league_short_name, short_name));
CREATE TABLE sport_location (id DECIMAL(3,0) PRIMARY KEY, name VARCHAR(60) NOT NULL, city VARCHAR(60),
  seating_capacity DECIMAL(7,0), levels DECIMAL(1,0), sections DECIMAL(4,0));
CREATE TABLE sport_team (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30) NOT NULL, abbreviated_name VARCHAR(10),
  home_field_id DECIMAL(3,0), sport_type_name VARCHAR(15), sport_league_short_name VARCHAR(10),
  sport_division_short_name VARCHAR(10));
CREATE TABLE player (id INT AUTO_INCREMENT PRIMARY KEY, sport_team_id INT NOT NULL, last_name VARCHAR(30),
  first_name VARCHAR(30), full_name VARCHAR(30));
CREATE TABLE sporting_event (id BIGINT AUTO_INCREMENT PRIMARY KEY, sport_type_name VARCHAR(15) NOT NULL,
  home_team_id INT NOT NULL, away_team_id INT NOT NULL, location_id DECIMAL(3,0) NOT NULL,
  start_date_time DATETIME NOT NULL, start_date DATE NOT NULL, sold_out TINYINT(1) NOT NULL DEFAULT 0);
INSERT INTO sport_type VALUES ('baseball', 'With a bat'), ('football', 'With an egg');
INSERT INTO sport_league VALUES ('baseball', 'MLB', 'Major', NULL), ('football', 'NFL', 'National', NULL);
INSERT INTO sport_division VALUES ('baseball', 'MLB', 'East', 'East'), ('football', 'NFL', 'West', 'West')
"""
TICKETS = """CREATE TABLE sporting_event_ticket (id BIGINT PRIMARY KEY, sporting_event_id BIGINT NOT NULL,
  sport_location_id DECIMAL(3,0) NOT NULL, seat_level DECIMAL(1,0), seat_section VARCHAR(15), seat_row VARCHAR(10),
  seat VARCHAR(10), ticketholder_id BIGINT, ticket_price DECIMAL(8,2) NOT NULL)"""
# For each event: who plays, where, and what its tickets cost. ``{sports}`` and ``{tickets}`` are the schemas.
CONVERGED = """SELECT e.id AS event, h.name AS home, a.name AS away, l.name AS location,
 SUM(t.ticket_price) AS total, AVG(t.ticket_price) AS average, MIN(t.ticket_price) AS lowest,
 MAX(t.ticket_price) AS highest, COUNT(*) AS tickets
FROM {sports}.sporting_event e
JOIN {sports}.sport_team h ON h.id = e.home_team_id
JOIN {sports}.sport_team a ON a.id = e.away_team_id
JOIN {sports}.sport_location l ON l.id = e.location_id
JOIN {tickets}.sporting_event_ticket t ON t.sporting_event_id = e.id
GROUP BY e.id, h.name, a.name, l.name
ORDER BY e.id"""
_BATCH = 2_000


def make_sports(server: SqlServer, database: str, seed: int = 1) -> None:
    pick = random.Random(seed)
    statements = SPORTS.split(";")
    locations = [
        f"({n}, 'Field {n}', 'City {n % 40}', {20_000 + 500 * n}, {1 + n % 4}, {20 + n})" for n in range(1, TEAMS + 1)
    ]
    teams = [f"({n}, 'Team {n}', 'T{n}', {n}, {_sport(n)}, {_league(n)}, {_division(n)})" for n in range(1, TEAMS + 1)]
    players = [f"({n}, {1 + n % TEAMS}, 'Last{n}', 'First{n}', 'First{n} Last{n}')" for n in range(1, PLAYERS + 1)]
    events = []
    for n in range(1, EVENTS + 1):
        home, away = pick.sample(range(1, TEAMS + 1), 2)
        day = f"2026-{1 + n % 12:02}-{1 + n % 28:02}"
        events.append(
            f"({n}, {_sport(home)}, {home}, {away}, {home}, '{day} {12 + n % 9}:00:00', '{day}', {n % 7 == 0:d})"
        )
    rows = {"sport_location": locations, "sport_team": teams, "player": players, "sporting_event": events}
    for table, values in rows.items():
        statements += [f"INSERT INTO {table} VALUES {', '.join(some)}" for some in _some(values)]
    server.execute(*statements, database=database)


def make_tickets(server: SqlServer, database: str, tickets: int, seed: int = 2) -> None:
    pick = random.Random(seed)
    values = []
    for n in range(1, tickets + 1):
        event = pick.randrange(1, EVENTS + 1)
        price = pick.randrange(1_000, 30_000) / 100
        values.append(
            f"({n}, {event}, {1 + event % TEAMS}, {1 + n % 4}, 'S{n % 40}', '{n % 50}', '{n % 99}', NULL, {price})"
        )
    server.execute(
        TICKETS,
        *(f"INSERT INTO sporting_event_ticket VALUES {', '.join(some)}" for some in _some(values)),
        database=database,
    )


class Box(threading.Thread):
    """A box office: sells, moves and gives back tickets until it is told to stop; ``written`` counts statements."""

    def __init__(self, server: SqlServer, database: str, tickets: int, seed: int = 3) -> None:
        super().__init__(daemon=True)
        self._server, self._database, self._next = server, database, tickets
        self._pick = random.Random(seed)
        self._ended = threading.Event()
        self.written = 0

    def run(self) -> None:
        with self._server.connect(self._database) as connection, connection.cursor() as cursor:
            while not self._ended.is_set():
                cursor.execute(self._statement())
                self.written += 1
                time.sleep(0.002)

    def stop(self) -> None:
        self._ended.set()
        self.join()

    def _statement(self) -> str:
        pick, seat = self._pick, self._pick.randrange(1, self._next + 1)
        kind = pick.random()
        if kind < 0.2:
            self._next += 1
            event = pick.randrange(1, EVENTS + 1)
            values = f"{self._next}, {event}, {1 + event % TEAMS}, 1, 'S1', '1', '1', NULL, {pick.randrange(100, 300)}"
            return f"INSERT INTO sporting_event_ticket VALUES ({values})"
        if kind < 0.3:
            return f"DELETE FROM sporting_event_ticket WHERE id = {seat}"
        sold = f"ticketholder_id = {pick.randrange(10**6)}, ticket_price = ticket_price + 1"
        return f"UPDATE sporting_event_ticket SET {sold} WHERE id = {seat}"


def _sport(team: int) -> str:
    return "'baseball'" if team % 2 else "'football'"


def _league(team: int) -> str:
    return "'MLB'" if team % 2 else "'NFL'"


def _division(team: int) -> str:
    return "'East'" if team % 2 else "'West'"


def _some(values: list[str]) -> list[list[str]]:
    return [values[start : start + _BATCH] for start in range(0, len(values), _BATCH)]
