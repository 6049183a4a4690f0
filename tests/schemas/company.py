"""A company's people: composite keys of two and three columns, dates, histories. One item for each person."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from random import Random
from typing import Any

from tests.e2e.judge import Expected
from tests.schemas.application import Application, Statements

SCHEMA = """
CREATE TABLE department (code CHAR(4) PRIMARY KEY, name VARCHAR(40) NOT NULL, UNIQUE (name));
CREATE TABLE person (no INT PRIMARY KEY, born DATE NOT NULL, first VARCHAR(14) NOT NULL, last VARCHAR(16),
                     gender ENUM('F', 'M', 'X') NOT NULL, hired DATE NOT NULL);
CREATE TABLE stay (person INT, department CHAR(4), since DATE NOT NULL, until DATE, PRIMARY KEY (person, department));
CREATE TABLE title (person INT, title VARCHAR(20), since DATE, until DATE, PRIMARY KEY (person, title, since));
CREATE TABLE salary (person INT, since DATE, cents BIGINT NOT NULL, PRIMARY KEY (person, since), KEY (since))
"""

PERSON = 'partition_key = { name = "pk", value = "PERSON#${%s}" }\nsort_key = { name = "sk", value = "PERSON" }\n'
MAPPING = (
    """
source = "department"
partition_key = { name = "pk", value = "DEPARTMENT#${code}" }
sort_key = { name = "sk", value = "DEPARTMENT" }
""",
    'source = "person"\nitem = "shared"\nattributes = { kind = "person" }\n' + PERSON % "no",
    """
source = "stay"
item = "shared"
shape = "group"
entry = { name = "${department}", as = "map", into = "departments" }
"""
    + PERSON % "person",
    """
source = "title"
item = "shared"
shape = "group"
entry = { as = "list", into = "titles", order = ["since desc", "title"] }
"""
    + PERSON % "person",
    """
source = "salary"
item = "shared"
shape = "group"
entry = { name = "paid-${since}", value = "cents" }
"""
    + PERSON % "person",
)

PEOPLE = 25


def step(dice: Random) -> Statements:
    no, other, code = dice.randrange(PEOPLE), dice.randrange(PEOPLE), f"d{dice.randrange(5):03}"
    since, until = (f"'20{dice.randrange(10, 26)}-{dice.randrange(1, 13):02}-01'" for _ in range(2))
    title = f"'{dice.choice(['Engineer', 'Senior', 'Staff', 'Manager'])}'"
    person = f"{no}, '19{60 + no}-02-28', 'First {no}', {dice.choice(['NULL', repr(f'Last {no}')])}, 'X', {since}"
    return dice.choice(
        [
            [f"REPLACE INTO person VALUES ({person})"],
            [f"UPDATE person SET gender = 'F', last = UPPER(last) WHERE no = {no}"],
            [f"DELETE FROM {table} WHERE {key} = {no}" for table, key in TABLES],  # who leaves, with a whole history
            [f"UPDATE IGNORE {table} SET {key} = {other} WHERE {key} = {no}" for table, key in TABLES],
            [f"REPLACE INTO department VALUES ('{code}', 'Department {dice.randrange(9)}')"],
            [f"REPLACE INTO stay VALUES ({no}, '{code}', {since}, {dice.choice(['NULL', until])})"],
            [f"UPDATE stay SET until = {until} WHERE person = {no} AND until IS NULL"],
            [f"REPLACE INTO title VALUES ({no}, {title}, {since}, NULL)"],
            [f"UPDATE IGNORE title SET title = {title}, until = {until} WHERE person = {no} ORDER BY since LIMIT 1"],
            [f"DELETE FROM title WHERE person = {no} AND since < {since}"],
            [f"REPLACE INTO salary VALUES ({no}, {since}, {dice.randrange(-5, 10**12)})"],
            [f"UPDATE salary SET cents = cents * 2 WHERE since = {since}"],
            [f"UPDATE IGNORE salary SET since = {until} WHERE person = {no} AND since = {since}"],
        ]
    )


TABLES = (("person", "no"), ("stay", "person"), ("title", "person"), ("salary", "person"))


def expected(application: Application) -> Expected:
    items: Expected = {}

    def person(no: int) -> dict[str, Any]:
        key = (f"PERSON#{no}", "PERSON")
        return items.setdefault(key, {"pk": key[0], "sk": key[1]})

    for code, name in application.rows("SELECT code, name FROM department"):
        key = (f"DEPARTMENT#{code}", "DEPARTMENT")
        items[key] = {"pk": key[0], "sk": key[1], "code": code, "name": name}
    for no, born, first, last, gender, hired in application.rows("SELECT * FROM person"):
        person(no).update(kind="person", no=no, born=str(born), first=first, last=last, gender=gender, hired=str(hired))
    for no, department, since, until in application.rows("SELECT * FROM stay"):
        person(no).setdefault("departments", {})[department] = {"since": str(since), "until": day(until)}
    for no, title, since, until in application.rows("SELECT * FROM title ORDER BY person, since DESC, title"):
        one = {"title": title, "since": str(since), "until": day(until)}
        person(no).setdefault("titles", []).append(one)
    for no, since, cents in application.rows("SELECT person, since, cents FROM salary"):
        person(no)[f"paid-{since}"] = Decimal(cents)
    return items


def day(value: date | None) -> str | None:
    return None if value is None else str(value)
