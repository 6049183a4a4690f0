"""Whatever stands in a file, it is taken with a mapping that can be run and written down, or refused by name."""

from __future__ import annotations

import copy
import json
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.dms.schema import Schema
from tests.dms.test_cases import CASES, NAMES
from tests.fuzz.any import places
from whimbrel.dms.read import read_rules
from whimbrel.dms.toml import table_section
from whimbrel.dms.translate import Translated, translate
from whimbrel.errors import ProjectError
from whimbrel.mapping.design import compile_mapping
from whimbrel.project import load_project

QUIET = settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)


def _readable(text: str) -> list[Any]:
    try:
        return [json.loads(text)]
    except json.JSONDecodeError:
        return []


TEXTS = [(CASES / name / "rules.json").read_text() for name in NAMES]
FILES = [document for text in TEXTS for document in _readable(text)]
ALL_TABLES: dict[str, Any] = {}
for _name in NAMES:
    ALL_TABLES |= json.loads((CASES / _name / "tables.json").read_text())

words = st.sampled_from(sorted({word for text in TEXTS for word in text.split('"') if word.strip() and len(word) < 60}))
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)


def taken_or_refused(text: str) -> None:
    """The property: a mapping that runs on the tables' rows and reads back from TOML, or faults that say something."""
    schema = Schema(ALL_TABLES)
    try:
        translated = translate(read_rules(text), schema.found, schema.read)
    except ProjectError as error:
        refused = error
    else:
        runs_and_reads_back(translated, schema)
        return
    assert all(line.strip() for line in refused.message.strip().splitlines())
    assert str(refused).encode()


def runs_and_reads_back(translated: Translated, schema: Schema) -> None:
    for rule in translated.tables:
        assert rule.partition_key.value
        compile_mapping(rule, schema.read(*rule.source.split("."))).put_items(schema.rows(rule.source))
    assert reads_back(translated)


def reads_back(translated: Translated) -> bool:
    sections = "\n".join(map(table_section, translated.tables))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "whimbrel.toml")
        path.write_text(f'[source]\nurl = "mysql://someone@127.0.0.1"\n\n{sections}', encoding="utf-8")
        return load_project(path).tables == translated.tables


@QUIET
@given(st.data())
def test_a_file_with_anything_anywhere(data: st.DataObject) -> None:
    document = copy.deepcopy(data.draw(st.sampled_from(FILES)))
    for _ in range(data.draw(st.integers(1, 4))):
        paths = places(document)
        if not paths:
            break
        path = data.draw(st.sampled_from(paths))
        parent = document
        for step in path[:-1]:
            parent = parent[step]
        if data.draw(st.booleans()):
            parent[path[-1]] = data.draw(anything)
        else:
            del parent[path[-1]]
    taken_or_refused(json.dumps(document))


@QUIET
@given(st.lists(st.sampled_from([rule for file in FILES for rule in file.get("rules", [])]), min_size=1, max_size=6))
def test_rules_of_many_files_in_one(rules: list[Any]) -> None:
    numbered = [
        {**rule, "rule-id": str(number)} if isinstance(rule, dict) else rule for number, rule in enumerate(rules, 1)
    ]
    select_all = {
        "rule-type": "selection",
        "rule-id": "99",
        "rule-name": "all",
        "rule-action": "include",
        "object-locator": {"schema-name": "shop", "table-name": "%"},
    }
    taken_or_refused(json.dumps({"rules": [*numbered, select_all]}))


@QUIET
@given(st.sampled_from(TEXTS), st.integers(0), st.integers(0, 12), st.text(max_size=5))
@example('{"rules": []}', 0, 0, "\ud800")
def test_a_file_cut_and_patched(text: str, at: int, gone: int, patch: str) -> None:
    at %= len(text)
    taken_or_refused(text[:at] + patch + text[at + gone :])
