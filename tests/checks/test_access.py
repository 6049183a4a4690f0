"""What serves the application's statements: by rule, case by case, and as the command says it on real servers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from whimbrel.checks.access.decide import decide, decide_best
from whimbrel.checks.access.parse import ParsedStatement, Unparsed, parse
from whimbrel.checks.access.served import access_findings, access_of
from whimbrel.checks.access.statement_answer import Sizes, StatementAnswer
from whimbrel.checks.access.statements import of_sql
from whimbrel.checks.groups import Partition, collection_findings
from whimbrel.cli.check_lines import access_lines
from whimbrel.mapping.design import TableMapping, compile_mapping
from whimbrel.project import IndexKey, IndexRule, KeyRule, TableRule
from whimbrel.records import Column, Table


def text(name: str, *, nullable: bool = False) -> Column:
    return Column(name, "text", nullable=nullable, length=40, charset="utf8mb4")


def table(name: str, key: tuple[str, ...], *columns: Column) -> Table:
    return Table("shop", name, columns, key)


CUSTOMER = compile_mapping(
    TableRule("shop.customer", "customer", "record", KeyRule("id", "${id}", "N")),
    table("customer", ("id",), Column("id", "int", nullable=False), text("name"), text("email", nullable=True)),
)
ORDER_TABLE = table(
    "orders",
    ("customer", "day", "number"),
    *(text("customer"), Column("day", "date", nullable=False), Column("number", "int", nullable=False)),
    *(text("status"), Column("total", "decimal", nullable=False, precision=10, scale=2)),
)
ORDER = compile_mapping(
    TableRule(
        "shop.orders",
        "orders",
        "record",
        KeyRule("pk", "C#${customer}"),
        KeyRule("sk", "${day}|${number}"),
        indexes=(IndexRule("by_status", IndexKey("status"), IndexKey("total", "N")),),
    ),
    ORDER_TABLE,
)
LINE = compile_mapping(
    TableRule("shop.line", "orders", "record", KeyRule("pk", "C#${customer}"), KeyRule("sk", "L#${number}|${line}")),
    table(
        "line",
        ("customer", "number", "line"),
        *(text("customer"), Column("number", "int", nullable=False), Column("line", "int", nullable=False)),
    ),
)
EVENT = compile_mapping(
    TableRule("shop.event", "event", "record", KeyRule("device", "${device}"), KeyRule("seq", "${seq}", "N")),
    table("event", ("device", "seq"), text("device"), Column("seq", "int", nullable=False), text("kind")),
)
PAIR = compile_mapping(
    TableRule("shop.pair", "pair", "document", KeyRule("pk", "${a}|${b}")),
    table("pair", ("a", "b"), text("a"), text("b"), text("c")),
)
PURCHASES = compile_mapping(
    TableRule(
        *("shop.purchase", "purchase", "group"),
        partition_key=KeyRule("customerid", "${customerid}"),
        sort_key=KeyRule("orderid", "${orderid}"),
        entry_name="${productid}",
        entry_value="quantity",
    ),
    table(
        "purchase",
        ("customerid", "orderid", "productid"),
        *(text("customerid"), text("orderid"), text("productid"), Column("quantity", "int", nullable=False)),
    ),
)
MAPPINGS: dict[str, TableMapping] = {each.source: each for each in (CUSTOMER, ORDER, LINE, EVENT, PAIR, PURCHASES)}
SIZES = {name: Sizes(10_000, 1024, 1.0, lambda _: 20.0) for name in MAPPINGS}


def read(sql: str) -> ParsedStatement | None:
    [said] = of_sql(sql, "shop")
    return parse(said, {name: each.table for name, each in MAPPINGS.items()})


def answer(sql: str) -> StatementAnswer:
    statement = read(sql)
    assert statement
    return decide(statement, MAPPINGS, SIZES)


@pytest.mark.parametrize(
    ("sql", "verdict", "call"),
    [
        ("SELECT * FROM customer WHERE id = 7", "GetItem", "dynamodb.Table('customer').get_item(Key={'id': id})"),
        ("select name from shop.customer c where 7 = c.ID limit 1", "GetItem", "get_item"),
        ("SELECT * FROM `shop` . `customer` WHERE `id` = ?", "GetItem", "get_item"),
        ("SELECT * FROM customer WHERE id = :id AND 1 = 1", "GetItem", "get_item"),
        ("SELECT * FROM customer WHERE id IN (1, 2, 3)", "BatchGetItem", "batch_get_item"),
        ("SELECT * FROM customer WHERE `id` IN (...)", "BatchGetItem", "batch_get_item"),
        ("SELECT * FROM customer WHERE id = 1 OR id = 2", "BatchGetItem", "batch_get_item"),
        ("SELECT * FROM customer WHERE id > 7", "Scan", "FilterExpression=Attr('id')…"),
        ("SELECT * FROM customer WHERE id = 1 OR name = 'x'", "Scan", "scan("),
        ("SELECT * FROM customer WHERE ABS(id) = 7", "Scan", "scan("),
        ("SELECT * FROM customer WHERE email IS NULL", "Scan", "Attr('email')"),
        ("SELECT * FROM customer", "Scan", "scan()"),
        ("SELECT * FROM customer WHERE email = 'a@b'", "needs an index", "IndexName='by_email'"),
        ("SELECT COUNT(*) FROM customer", "not served", ""),
        ("SELECT name, COUNT(*) FROM customer GROUP BY name", "not served", ""),
        ("SELECT DISTINCT name FROM customer", "not served", ""),
        # a template, and a prefix of one
        (
            "SELECT * FROM orders WHERE customer = 'c' AND day = '2024-01-01' AND number = 3",
            "GetItem",
            """'pk': f"C#{customer}", 'sk': f"{day}|{number}\"""",
        ),
        (
            "SELECT * FROM orders WHERE customer = 'c' AND day = '2024-01-01'",
            "Query",
            """Key('sk').begins_with(f"{day}|")""",
        ),
        (
            "SELECT * FROM orders WHERE customer = 'c'",
            "Query",
            """query(KeyConditionExpression=Key('pk').eq(f"C#{customer}"))""",
        ),
        ("SELECT * FROM orders WHERE (customer, day, number) = ('c', '2024-01-01', 3)", "GetItem", "get_item"),
        (
            "SELECT * FROM orders WHERE (customer, day, number) IN (('c', '2024-01-01', 3), ('d', '2024-01-01', 4))",
            "BatchGetItem",
            "batch",
        ),
        (
            "SELECT * FROM orders WHERE customer = 'c' AND day BETWEEN '2024-01-01' AND '2024-02-01'",
            "Query",
            """between(f"{day_from}", f"{day_to}\\uffff")""",
        ),
        (
            "SELECT * FROM orders WHERE customer = 'c' AND day >= '2024-01-01' AND day < '2024-02-01'",
            "Query",
            "between(",
        ),
        ("SELECT * FROM orders WHERE customer = 'c' AND day LIKE '2024-%'", "Query", "begins_with"),
        ("SELECT * FROM orders WHERE customer = 'c' AND day LIKE '%-01'", "Query", "FilterExpression=Attr('day')…"),
        ("SELECT * FROM orders WHERE customer = 'c' AND total > 5", "Query", "FilterExpression=Attr('total')…"),
        (
            "SELECT * FROM orders WHERE customer = 'c' ORDER BY day DESC LIMIT 5",
            "Query",
            "ScanIndexForward=False, Limit=5",
        ),
        ("SELECT * FROM orders WHERE customer = 'c' ORDER BY day LIMIT 5", "Query", "Limit=5"),
        ("SELECT COUNT(*) FROM orders WHERE customer = 'c'", "Query", "Select='COUNT'"),
        ("SELECT SUM(total) FROM orders WHERE customer = 'c'", "Query", "query("),
        ("SELECT * FROM orders WHERE day = '2024-01-01'", "needs an index", "IndexName='by_day'"),
        # an index that is there
        (
            "SELECT * FROM orders WHERE status = 'open'",
            "Query on an index",
            "IndexName='by_status', KeyConditionExpression=Key('status').eq(str(status))",
        ),
        (
            "SELECT * FROM orders WHERE status = 'open' AND total BETWEEN 1 AND 2",
            "Query on an index",
            "Key('total').between(total_from, total_to)",
        ),
        (
            "SELECT * FROM orders WHERE status = 'open' ORDER BY total DESC LIMIT 3",
            "Query on an index",
            "ScanIndexForward=False, Limit=3",
        ),
        # numbers in a sort key
        ("SELECT * FROM event WHERE device = 'd' AND seq > 100", "Query", "Key('seq').gt(seq)"),
        ("SELECT * FROM event WHERE device = 'd' AND 100 >= seq", "Query", "Key('seq').lte(seq)"),
        ("SELECT MAX(seq) FROM event WHERE device = 'd'", "Query", "query("),
        ("SELECT * FROM event WHERE device IN ('d', 'e')", "Query", "query("),
        ("SELECT * FROM event WHERE seq = 5", "needs an index", "IndexName='by_seq'"),
        # a document, a group
        ("SELECT c FROM pair WHERE a = 'x' AND b = 'y'", "GetItem", """{'pk': f"{a}|{b}"}"""),
        ("SELECT c FROM pair WHERE a = 'x'", "needs an index", "IndexName='by_a'"),
        ("SELECT * FROM purchase WHERE customerid = 'c' AND orderid = 'o'", "GetItem", "'orderid': str(orderid)"),
        ("SELECT * FROM purchase WHERE customerid = 'c' AND orderid = 'o' AND productid = 'p'", "GetItem", "get_item"),
        ("SELECT * FROM purchase WHERE customerid = 'c' AND orderid LIKE 'o%'", "Query", "Key('orderid').begins_with("),
        ("SELECT * FROM purchase WHERE productid = 'p'", "needs an index", ""),
        # writes
        ("INSERT INTO customer (id, name) VALUES (1, 'x')", "PutItem", "ConditionExpression=Attr('id').not_exists()"),
        ("INSERT INTO customer (id, name) VALUES (1, 'x'), (2, 'y')", "TransactWriteItems", "transact_write_items"),
        (
            "INSERT INTO `customer` ( `id` , NAME ) VALUES (...) /* , ... */",
            "TransactWriteItems",
            "transact_write_items",
        ),
        ("REPLACE INTO customer (id, name) VALUES (1, 'x')", "PutItem", "put_item(Item={'id': id, …})"),
        ("INSERT INTO customer (id) VALUES (1) ON DUPLICATE KEY UPDATE name = 'x'", "UpdateItem", "update_item"),
        ("INSERT INTO purchase VALUES ('c', 'o', 'p', 3)", "UpdateItem", "update_item"),
        ("UPDATE customer SET name = 'x' WHERE id = 1", "UpdateItem", "UpdateExpression='SET …'"),
        (
            "UPDATE orders SET total = total + 1 WHERE customer = 'c' AND day = '2024-01-01' AND number = 3",
            "UpdateItem",
            "ADD …",
        ),
        (
            "UPDATE customer SET name = 'x' WHERE id = 1 AND name = 'y'",
            "UpdateItem",
            "ConditionExpression=Attr('name')…",
        ),
        (
            "UPDATE orders SET day = '2024-01-02' WHERE customer = 'c' AND day = '2024-01-01' AND number = 3",
            "TransactWriteItems",
            "'Delete'",
        ),
        ("UPDATE orders SET status = 'x' WHERE customer = 'c'", "Query + UpdateItem", "query("),
        ("UPDATE customer SET name = 'x' WHERE email = 'y'", "needs an index", "by_email"),
        ("DELETE FROM customer WHERE id = 1", "DeleteItem", "delete_item(Key={'id': id})"),
        ("DELETE FROM customer WHERE name < 'x'", "Scan", "scan("),
        ("DELETE FROM purchase WHERE customerid = 'c' AND orderid = 'o' AND productid = 'p'", "UpdateItem", "REMOVE"),
        # more than one table
        (
            "SELECT * FROM orders o JOIN line l ON l.customer = o.customer WHERE o.customer = 'c'",
            "Query",
            "Key('pk').eq",
        ),
        ("SELECT * FROM orders JOIN line USING (customer) WHERE orders.customer = 'c'", "Query", "Key('pk').eq"),
        ("SELECT * FROM orders o, line l WHERE l.customer = o.customer AND l.customer = 'c'", "Query", "Key('pk').eq"),
        ("SELECT * FROM orders o JOIN line l ON l.customer = o.status WHERE o.customer = 'c'", "not served", ""),
        ("SELECT * FROM orders o JOIN customer c ON c.name = o.customer WHERE o.customer = 'c'", "not served", ""),
        ("SELECT * FROM customer WHERE id IN (SELECT customer FROM orders)", "not served", ""),
        ("SELECT * FROM customer UNION SELECT * FROM customer", "not served", ""),
        ("WITH x AS (SELECT * FROM customer) SELECT * FROM x", "not served", ""),
        ("INSERT INTO customer (id) SELECT id FROM elsewhere", "not served", ""),
    ],
)
def test_what_serves_a_statement(sql: str, verdict: str, call: str) -> None:
    found = answer(sql)
    assert found.verdict == verdict
    assert call in found.call
    if found.verdict in ("needs an index", "Scan", "not served"):
        assert found.advice


def test_text_that_does_not_sort_as_its_numbers() -> None:
    """``number`` is a part of a text: 10 comes before 9 there, so that no range of it is read, and no order is kept."""
    found = answer("SELECT * FROM orders WHERE customer = 'c' AND day = '2024-01-01' AND number > 9")
    assert "begins_with" in found.call
    assert "Attr('number')" in found.call
    assert any(
        "not the order" in note
        for note in answer("SELECT * FROM orders WHERE customer = 'c' ORDER BY day, number LIMIT 2").notes
    )


def decided(sql: str, *mappings: TableMapping) -> StatementAnswer:
    """Of one table in these rules."""
    [said] = of_sql(sql, "shop")
    statement = parse(said, {mappings[0].table.full_name: mappings[0].table})
    assert statement
    sizes = {each.source: Sizes(10_000, 1024, 1.0, lambda _: 20.0) for each in mappings}
    return decide_best(statement, {mappings[0].table.full_name: list(mappings)}, sizes)


def test_an_index_of_a_column_with_codes_is_asked_for_the_code() -> None:
    rule = TableRule(
        *("shop.orders", "orders", "record", KeyRule("pk", "C#${customer}"), KeyRule("sk", "${day}|${number}")),
        codes={"status": {"new": 1, "it's paid": 2}, "number": {"1": "one", "2": "two"}},
        indexes=(
            IndexRule("by_status", IndexKey("status", "N"), IndexKey("total", "N")),
            IndexRule("by_number", IndexKey("number"), IndexKey("status", "N")),
        ),
    )
    mapping = compile_mapping(rule, ORDER_TABLE)
    found = decided("SELECT * FROM orders WHERE status = 'new' AND total > 5", mapping)
    assert """Key('status').eq({'new': 1, "it's paid": 2}[status]) & Key('total').gt(total)""" in found.call
    found = decided("SELECT * FROM orders WHERE number = 1 AND status > 'a'", mapping)
    assert "Key('number').eq({1: 'one', 2: 'two'}[number])" in found.call
    assert "Key('status')" not in found.call  # codes are in another order than their values


def test_of_several_rules_the_one_that_serves_best() -> None:
    follow = table("follow", ("a", "b"), text("a"), text("b"), text("c"))
    rules = (
        TableRule("shop.follow", "social", "record", KeyRule("pk", "A#${a}"), KeyRule("sk", "${b}"), number=1),
        TableRule("shop.follow", "social", "record", KeyRule("pk", "B#${b}"), KeyRule("sk", "${a}"), number=2),
    )
    one, two = (compile_mapping(rule, follow) for rule in rules)
    for column, best in (("a", "shop.follow#1"), ("b", "shop.follow#2")):
        found = decided(f"SELECT * FROM follow WHERE {column} = 'x'", one, two)
        assert (found.verdict, found.table) == ("Query", best)
    put = decided("INSERT INTO follow (a, b) VALUES ('x', 'y')", one, two)
    assert (put.units, put.notes[-1]) == (2.0, "it is written to the items of 2 rules")


@pytest.mark.parametrize(("local", "gigabytes", "said"), [(1, 9, 0), (1, 11, 1), (0, 500, 0), (3, 6, 1)])
def test_a_partition_key_with_local_indexes_has_its_limit(local: int, gigabytes: int, said: int) -> None:
    indexes = tuple(IndexRule(f"by-{n}", IndexKey("pk"), IndexKey("status"), local=True) for n in range(local))
    keys = KeyRule("pk", "C#${customer}"), KeyRule("sk", "${day}|${number}")
    rule = TableRule("shop.orders", "orders", "record", *keys)
    mapping = compile_mapping(replace(rule, indexes=indexes), ORDER_TABLE)
    heaviest = [Partition("C#a", 500, 0.5), Partition("C#b", 10, 0.01)]
    found = list(collection_findings(mapping, heaviest, gigabytes * 2.0**30))
    assert len(found) == said
    assert all("C#a has about" in each.reason for each in found)


def test_units() -> None:
    assert answer("SELECT * FROM customer WHERE id = 7").units == 0.5
    assert answer("SELECT * FROM orders WHERE customer = 'c'").units == 2.5  # 20 KB
    assert answer("SELECT * FROM orders WHERE customer = 'c' ORDER BY day LIMIT 4").units == 0.5
    assert answer("SELECT * FROM customer").units == 1250.0  # 10 MB
    assert answer("SELECT * FROM customer LIMIT 8").units == 1.0
    put = answer("INSERT INTO customer (id) VALUES (1)")
    assert (put.units, put.writes) == (1.0, True)


def test_the_index_that_is_wanted() -> None:
    found = answer("SELECT * FROM orders WHERE day = '2024-01-01' ORDER BY status")
    assert '[[table.index]] name = "by_day_status"' in found.advice
    assert 'sort_key = { name = "status", type = "S" }' in found.advice
    assert 'nulls = "omit"' in answer("SELECT * FROM customer WHERE email = 'a'").advice
    both = answer("SELECT * FROM customer WHERE email = 'a' AND name = 'b'")
    assert 'attributes = { email_name = "${email}|${name}" }' in both.advice
    assert "no index reaches" in answer("SELECT * FROM purchase WHERE productid = 'p'").advice
    assert "AUTO_INCREMENT" in answer("INSERT INTO customer (name) VALUES ('x')").notes[0]


@pytest.mark.parametrize("sql", ["SELECT * FROM elsewhere", "SELECT 1", "SELECT * FROM other.customer WHERE id = 1"])
def test_other_tables(sql: str) -> None:
    assert read(sql) is None


@pytest.mark.parametrize(
    "sql",
    ["CALL p(1)", "SELECT FROM WHERE", "LOAD DATA INFILE 'x' INTO TABLE t", "SELECT * FROM customer WHERE a = ? ..."],
)
def test_unread(sql: str) -> None:
    with pytest.raises(Unparsed):
        read(sql)


def test_nothing_is_dropped_and_no_value_is_shown() -> None:
    sql = """USE shop; -- a comment; with a semicolon
    SELECT * FROM customer WHERE email = 'secret; value' AND name = "hid'den";
    select * from `customer` where `email` = 'other' /* secret */ and name='q';
    SELECT * FROM customer WHERE id IN (1,2,3); SELECT * FROM customer WHERE id IN (4);
    CALL hidden('secret'); NONSENSE 'secret'; SELECT * FROM elsewhere; SET NAMES utf8mb4;
    SELECT * FROM customer WHERE name LIKE 'secret%' LIMIT 10, 20"""
    said = Counter(of_sql(sql, ""))
    found = access_of("app.sql", said, list(MAPPINGS.values()), SIZES)
    assert sum(each.count for each in found.patterns) == 5
    assert sum(count for _, count, _ in found.unread) == 2
    assert (found.other, found.session) == (1, 1)
    assert sum(each.share for each in found.patterns) == pytest.approx(5 / 7)
    words = "\n".join([*access_lines(found), *(each.reason for each in access_findings(found))])
    assert "secret" not in words
    assert "hid" not in words.replace("hidden(?)", "")
    assert "2 statements" in next(each.reason for each in access_findings(found) if each.code == "access-unread")
    two = [each.count for each in found.patterns if "IN (" in each.statement]
    assert two == [2]
