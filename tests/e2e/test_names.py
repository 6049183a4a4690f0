"""Columns with names that need care: dollars, blanks, quotes, braces, percent signs, words of SQL."""

from __future__ import annotations

import json
from decimal import Decimal

import pymysql
import pytest
from click.testing import CliRunner

from demo.servers import DynamoServer, Ministack
from tests.e2e import judge
from tests.e2e.conftest import MakeWork
from tests.e2e.work import Work
from whimbrel.cli.main import main
from whimbrel.project import load_project

NAMES = (
    "a$b",
    "$",
    "two words",
    'quo"te',
    "o'clock",
    "tick`s",
    "br}a{ce",
    "100%",
    "%s",
    "back\\slash",
    "select",
    "Größe",
)
MAPPING = """
shape = "record"
partition_key = { name = "pk", value = "${a$b}|${$}|$$" }
sort_key = { name = "brace", type = "N" }
exclude = ["two words", "a$b"]
filter = '''"100%" IS NOT 'out' AND "o'clock" IS NOT 'never' '''
rename = { 'tick`s' = "ticks", "100%" = "all" }
mask = { 'quo"te' = "digits", "%s" = "hash" }
types = { 'back\\slash' = "S" }
columns = { brace = '"br}a{ce"', "s$m" = '''"select" || ':' || "o'clock" ''' }
before_image = { "old $" = "$" }
attributes = { "t w" = "<${two words}>" }
nulls = "omit"
assert_unique = true
"""


def quoted(name: str) -> str:
    return f"`{name.replace('`', '``')}`"


def table(work: Work, name: str = "odd") -> None:
    kinds = {"a$b": "INT", "br}a{ce": "INT", "back\\slash": "INT"}
    columns = ", ".join(f"{quoted(one)} {kinds.get(one, 'VARCHAR(20)')} NOT NULL" for one in NAMES)
    work.source.execute(
        f"CREATE TABLE {quoted(name)} ({columns}, PRIMARY KEY (`a$b`, `$`, `br}}a{{ce`)) CHARACTER SET utf8mb4",
        f"INSERT INTO {quoted(name)} VALUES (1,'d','w','q1','o','t',7,'p','s',3,'S','ü'),"
        "(2,'d','w','q2','o','t',7,'out','s',3,'S','ü'), (3,'e','v','q3','never','t',8,'p','s',4,'T','y')",
        database=work.database,
    )


def judged(work: Work) -> judge.Expected:
    rows = work.source.execute(
        "SELECT *, SHA2(`%s`, 256) FROM odd WHERE `100%` <> 'out' AND `o'clock` <> 'never'", database=work.database
    )
    return {
        (f"{a}|{dollar}|$", brace): {
            "pk": f"{a}|{dollar}|$",
            "br}a{ce": Decimal(brace),
            "brace": Decimal(brace),
            "$": dollar,
            "t w": f"<{words}>",
            'quo"te': quote.replace("1", "#").replace("2", "#").replace("3", "#"),
            "o'clock": clock,
            "ticks": ticks,
            "all": percent,
            "%s": hashed,
            "back\\slash": str(slash),
            "select": select,
            "Größe": size,
            "s$m": f"{select}:{clock}",
        }
        for a, dollar, words, quote, clock, ticks, brace, percent, _, slash, select, size, hashed in rows
    }


def found(endpoint: DynamoServer, table: str) -> judge.Expected:
    items = judge.items(endpoint, table, "pk", "brace")
    return {key: {name: value for name, value in item.items() if name != "old $"} for key, item in items.items()}


def test_through_load_log_and_verification(work: Work) -> None:
    work.mapping, work.table = MAPPING, "odd"
    work.write_project()
    table(work)
    work.call("check", "--json")
    work.call("preview")
    work.call("migrate", "--until-caught-up")
    assert found(work.endpoint, work.target) == judged(work)
    work.source.execute(
        "UPDATE odd SET `$` = 'moved' WHERE `a$b` = 1",
        "UPDATE odd SET `100%` = 'in' WHERE `a$b` = 2",
        "UPDATE odd SET `o'clock` = 'noon', `%s` = '%d' WHERE `a$b` = 3",
        database=work.database,
    )
    work.call("migrate", "--until-caught-up")
    assert found(work.endpoint, work.target) == judged(work)
    assert len(judged(work)) == 3
    moved = judge.items(work.endpoint, work.target, "pk")["1|moved|$",]
    assert moved["old $"] == "d"
    assert work.verify()["candidates"] == 0
    work.endpoint.client().delete_item(TableName=work.target, Key={"pk": {"S": "1|moved|$"}, "brace": {"N": "7"}})
    assert work.verify(equal=False)["counts"] == {"missing": 1}


def test_a_template_that_would_name_another_column_is_refused(work: Work) -> None:
    """``${a}b}`` is column a and a text: never what is meant where there is a column called so."""
    work.source.execute("CREATE TABLE odd (`a` INT, `a}b` INT PRIMARY KEY)", database=work.database)
    work.table = "odd"
    for key in ('{ name = "a}b", type = "N" }', '{ name = "pk", value = "x${a}b}" }'):
        work.mapping = f'shape = "record"\npartition_key = {key}\nnulls = "omit"\n'
        work.write_project()
        told = work.call("check", code=2).output
        assert "'a}b' has a brace in its name, so that no template can name it" in told


def test_init_writes_them_so_that_they_are_read_again(work: Work) -> None:
    table(work)
    work.source.execute('CREATE TABLE `two "keys"` (`a\\b"` INT PRIMARY KEY, `$` INT)', database=work.database)
    output = work.folder / "made.toml"
    environment = {"WHIMBREL_SOURCE_PASSWORD": work.source.password}
    made = CliRunner().invoke(main, ["init", work.source.url(work.database), "-o", str(output)], env=environment)
    assert made.exit_code == 0, made.output
    [table_rule] = load_project(output).tables
    assert table_rule.source == f'{work.database}.two "keys"'
    assert table_rule.partition_key.name == 'a\\b"'
    assert json.loads(json.dumps(table_rule.partition_key.value)) == '${a\\b"}'
    left_out = next(line for line in output.read_text().splitlines() if line.startswith("# odd is left out"))
    assert "has a brace in its name, so that no template can name it" in left_out


@pytest.mark.parametrize("server", ["mariadb", "mysql"])
def test_a_table_by_the_name_of_its_file(
    make_work: MakeWork, request: pytest.FixtureRequest, ministack: Ministack, server: str
) -> None:
    """To MariaDB, ``#mysql50#a-b`` is the table in the file a-b; to MySQL 9 it is a name like any other."""
    work = make_work(request.getfixturevalue(server), ministack)
    work.table = "#mysql50#a-b"
    try:
        work.source.execute("CREATE TABLE `#mysql50#a-b` (id INT PRIMARY KEY, v INT)", database=work.database)
    except pymysql.err.ProgrammingError as error:
        if (server, error.args[0]) != ("mariadb", 1103):
            raise
        pytest.skip("MariaDB makes no such tables from 10.11.19 on")
    work.source.execute("INSERT INTO `#mysql50#a-b` VALUES (1, 1), (2, 2)", database=work.database)
    project = work.folder / "whimbrel.toml"
    project.unlink()
    url, environment = work.source.url(work.database), {"WHIMBREL_SOURCE_PASSWORD": work.source.password}
    arguments = ["init", url, "-o", str(project), "--endpoint", ministack.endpoint]
    made = CliRunner().invoke(main, arguments, env=environment)
    assert made.exit_code == 0, made.output
    text = project.read_text()
    assert f'source = "{work.database}.#mysql50#a-b"' in text
    project.write_text(text.replace('target = "_mysql50_a-b"', f'target = "{work.target}"'))
    assert json.loads(work.call("check", "--json").stdout)["errors"] == 0
    work.call("migrate", "--until-caught-up")
    work.source.execute(
        "UPDATE `#mysql50#a-b` SET v = 3 WHERE id = 1",
        "DELETE FROM `#mysql50#a-b` WHERE id = 2",
        "INSERT INTO `#mysql50#a-b` VALUES (4, 4)",
        database=work.database,
    )
    work.call("migrate", "--until-caught-up")
    work.verify()
    found = {int(key[0]): int(item["v"]) for key, item in judge.items(work.endpoint, work.target, "id").items()}
    assert found == {1: 3, 4: 4}
