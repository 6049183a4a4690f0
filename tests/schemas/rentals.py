"""A shop that rents films out: ENUM, SET, YEAR, spatial, BLOB, JSON, a table that triggers fill, and foreign keys whose
cascades MySQL 9.6 and later have in the binlog.
"""

from __future__ import annotations

import struct
from decimal import Decimal
from random import Random

import numpy
from boto3.dynamodb.types import Binary

from tests.e2e.judge import Expected
from tests.schemas.application import Application, Statements

CASCADE = " ON DELETE CASCADE ON UPDATE CASCADE"
SCHEMA = """
CREATE TABLE film (id SMALLINT UNSIGNED PRIMARY KEY, title VARCHAR(30) NOT NULL, about TEXT, made YEAR,
  minutes SMALLINT UNSIGNED, rate DECIMAL(4,2) NOT NULL DEFAULT 4.99, rating ENUM('G', 'PG-13', 'NC-17') DEFAULT 'G',
  features SET('Trailers', 'Commentaries', 'Deleted Scenes'), score FLOAT, facts JSON);
CREATE TABLE film_text (id SMALLINT UNSIGNED PRIMARY KEY, title VARCHAR(30) NOT NULL, about TEXT);
CREATE TABLE plays (film SMALLINT UNSIGNED, actor SMALLINT UNSIGNED, PRIMARY KEY (actor, film),
  CONSTRAINT of_film FOREIGN KEY (film) REFERENCES film (id)%(cascade)s);
CREATE TABLE shop (id TINYINT UNSIGNED PRIMARY KEY, place POINT NOT NULL, picture MEDIUMBLOB, opens TIME(1),
  closed BIT(1) NOT NULL DEFAULT b'0');
CREATE TABLE rental (id INT UNSIGNED AUTO_INCREMENT PRIMARY KEY, customer INT NOT NULL, film SMALLINT UNSIGNED NOT NULL,
  at DATETIME(3) NOT NULL, back TIMESTAMP NULL, UNIQUE (customer, at),
  CONSTRAINT of_rented FOREIGN KEY (film) REFERENCES film (id)%(cascade)s);
CREATE TRIGGER film_came AFTER INSERT ON film FOR EACH ROW
  REPLACE INTO film_text VALUES (NEW.id, NEW.title, NEW.about);
CREATE TRIGGER film_changed AFTER UPDATE ON film FOR EACH ROW
  UPDATE IGNORE film_text SET title = NEW.title, about = NEW.about, id = NEW.id WHERE id = OLD.id;
CREATE TRIGGER film_went AFTER DELETE ON film FOR EACH ROW DELETE FROM film_text WHERE id = OLD.id
"""

MAPPING = (
    """
source = "film"
partition_key = { name = "pk", value = "FILM#${id}" }
sort_key = { name = "sk", value = "FILM" }
exclude = ["about"]
types = { features = "SS", facts = "JSON" }
""",
    """
source = "film_text"
shape = "document"
document = "text"
partition_key = { name = "pk", value = "FILM#${id}" }
sort_key = { name = "sk", value = "TEXT" }
exclude = ["id"]
""",
    """
source = "plays"
shape = "group"
partition_key = { name = "pk", value = "FILM#${film}" }
sort_key = { name = "sk", value = "PLAYERS" }
entry = { value = "actor", as = "number-set", into = "actors" }
""",
    """
source = "shop"
partition_key = { name = "pk", value = "SHOP#${id}" }
sort_key = { name = "sk", value = "SHOP" }
types = { closed = "BOOL", opens = "SECONDS" }
nulls = "omit"
""",
    """
source = "rental"
partition_key = { name = "pk", value = "CUSTOMER#${customer}" }
sort_key = { name = "sk", value = "RENTAL#${at}" }
exclude = ["customer", "at"]
columns = { days = "CAST(julianday(back) - julianday(at) AS INTEGER)" }
""",
)

FILMS, FACTS = 15, """'{"langs": ["en", "no"], "stars": 4.5, "seen": null}'"""


def step(dice: Random) -> Statements:
    film, other, shop, customer = dice.randrange(FILMS), dice.randrange(FILMS), dice.randrange(4), dice.randrange(6)
    features = dice.choice(["NULL", "''", "'Trailers'", "'Trailers,Deleted Scenes'", "'Commentaries'"])
    rating = dice.choice(["'G'", "'PG-13'", "'NC-17'", "NULL"])
    facts = f"'About {film}', {dice.choice(['NULL', '1901', '2026'])}, {dice.choice(['NULL', '90', '65535'])}"
    more = f"{rating}, {features}, {dice.choice(['0.1', '7.25', 'NULL'])}, {dice.choice(['NULL', FACTS])}"
    at = f"'2026-01-{dice.randrange(1, 28):02} 10:00:00.{dice.randrange(1000):03}'"
    point = f"ST_GeomFromText('POINT({dice.randrange(90)} -{dice.randrange(90)}.5)')"
    picture = dice.choice(["NULL", "''", "x'00ff00'", f"REPEAT(x'{film:02x}00', 300)"])
    return dice.choice(
        [
            [f"INSERT IGNORE INTO film VALUES ({film}, 'Film {film}', {facts}, {film}.99, {more})"],
            [f"INSERT IGNORE INTO film VALUES ({other}, 'Other {film}', {facts}, {film}.99, {more})"],
            [f"UPDATE film SET title = CONCAT(LEFT(title, 8), '!'), rating = {rating} WHERE id = {film}"],
            [f"UPDATE film SET features = {features}, score = score * 1.1, minutes = NULL WHERE id = {film}"],
            [f"UPDATE IGNORE film SET id = {FILMS + other} WHERE id = {film}"],
            [f"DELETE IGNORE FROM film WHERE id IN ({film}, {FILMS + film})"],
            [f"INSERT IGNORE INTO plays VALUES ({film}, {other}), ({film}, {other + 1})"],
            [f"UPDATE IGNORE plays SET actor = {other} WHERE film = {film} LIMIT 1"],
            [f"DELETE FROM plays WHERE film = {film} LIMIT 2"],
            [f"REPLACE INTO shop VALUES ({shop}, {point}, {picture}, '09:30:00.5', b'{film % 2}')"],
            [f"UPDATE shop SET place = {point}, picture = {picture}, closed = b'1', opens = NULL WHERE id = {shop}"],
            [f"INSERT IGNORE INTO rental (customer, film, at) VALUES ({customer}, {film}, {at})"],
            [f"UPDATE rental SET back = ADDDATE(at, 2 + id % 3) WHERE customer = {customer} AND back IS NULL LIMIT 2"],
            [f"DELETE FROM rental WHERE customer = {customer} AND at < {at} LIMIT 2"],
        ]
    )


def expected(application: Application) -> Expected:
    items: Expected = {}

    def item(pk: str, sk: str, **attributes: object) -> None:
        items[pk, sk] = {"pk": pk, "sk": sk, **attributes}

    stored = "id, title, made, minutes, rate, rating, features, score * 1e0, facts IS NULL"
    for id_, title, made, minutes, rate, rating, features, score, factless in application.rows(
        f"SELECT {stored} FROM film"
    ):
        more = {"rate": rate, "rating": rating, "score": None if score is None else Decimal(str(numpy.float32(score)))}
        more["features"] = None if features is None else set(features.split(",")) if features else []
        more["facts"] = None if factless else {"langs": ["en", "no"], "stars": Decimal("4.5"), "seen": None}
        item(f"FILM#{id_}", "FILM", id=id_, title=title, made=made, minutes=minutes, **more)
    for id_, title, about in application.rows("SELECT * FROM film_text"):
        item(f"FILM#{id_}", "TEXT", text={"title": title, "about": about})
    for film, actor in application.rows("SELECT film, actor FROM plays"):
        items.setdefault((f"FILM#{film}", "PLAYERS"), {"pk": f"FILM#{film}", "sk": "PLAYERS", "actors": set()})
        items[f"FILM#{film}", "PLAYERS"]["actors"].add(actor)
    for id_, x, y, picture, opens, closed in application.rows(
        "SELECT id, ST_X(place), ST_Y(place), picture, opens, closed + 0 FROM shop"
    ):
        more = {"picture": picture and Binary(picture), "opens": opens and Decimal(str(opens.total_seconds()))}
        more = {name: value for name, value in more.items() if value is not None}
        item(
            f"SHOP#{id_}",
            "SHOP",
            id=id_,
            place=Binary(struct.pack("<IBIdd", 0, 1, 1, x, y)),
            closed=bool(closed),
            **more,
        )
    for id_, customer, film, at, back in application.rows("SELECT * FROM rental"):
        item(f"CUSTOMER#{customer}", f"RENTAL#{at.isoformat(timespec='milliseconds')}", id=id_, film=film,
             back=back and f"{back.isoformat()}Z", days=back and (back - at).days)  # fmt: skip
    return items
