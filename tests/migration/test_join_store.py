"""A damaged store of look-ups is never read: any byte changed, the file or its log cut anywhere, of another version."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from whimbrel.errors import StateError
from whimbrel.migration import join_store
from whimbrel.migration.join_store import AsOf, JoinStore, StoredRow, WaitingRows

ROWS = [(b"[%d]" % number, 1, b'[%d,"order"]' % number, b"[%d]" % (number % 7)) for number in range(60)]
KEPT = [(b"[%d]" % number, b'["customer %d"]' % number) for number in range(7)]
WAITING = WaitingRows(0, 0, b"[3]", [None, b'["was"]'], b"[30]")


def made(path: Path) -> JoinStore:
    return JoinStore(path, 1, [1], ["the layout"])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that was filled, changed and saved: some of it is in the file, some in its log."""
    folder = tmp_path_factory.mktemp("store")
    store = made(folder / "lookups.sqlite")
    with store.filling({"orders": "1"}, AsOf((1, 0)), []):
        store.add_version("shop.orders", b"{}")
        store.keep(0, KEPT)
        store.put(0, ROWS)
    assert store.open()
    store.put(0, [(b"[7]", 1, b'[7,"changed"]', None)])
    store.save(AsOf((1, 5), 5), [WAITING])
    shutil.copytree(folder, folder.with_name("left"))  # as a process that is killed leaves it
    store.close()
    return folder.with_name("left")


def content(store: JoinStore) -> list[object]:
    return [
        store.as_of(),
        store.waiting(),
        store.versions(),
        [store.looked_up(0, key) for key, _ in KEPT],
        list(store.rows_of(0, [key for key, *_ in ROWS])),
        [store.rows_by(0, 0, by, None, 100) for by, _ in KEPT],
    ]


@pytest.fixture
def opened(whole: Path, tmp_path: Path) -> Iterator[JoinStore]:
    shutil.copytree(whole, tmp_path / "one")
    store = made(tmp_path / "one" / "lookups.sqlite")
    assert store.open()
    yield store
    store.close()


def test_what_was_saved_is_there_with_its_log(opened: JoinStore) -> None:
    assert (opened.as_of(), opened.waiting()) == (AsOf((1, 5), 5), [WAITING])
    assert list(opened.rows_of(0, [b"[7]", b"[70]"])) == [StoredRow(b"[7]", 1, b'[7,"changed"]')]
    assert [each.key for each in opened.rows_by(0, 0, b"[0]", b"[14]", 3)] == [b"[21]", b"[28]", b"[35]"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_no_damage_is_read(whole: Path, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """It is refused by name, or it does not matter: a log that ends early is that of a process that ended earlier."""
    folder = tmp_path_factory.mktemp("damaged") / "one"
    shutil.copytree(whole, folder)
    file = folder / data.draw(st.sampled_from(["lookups.sqlite", "lookups.sqlite-wal"]))
    content_now = bytearray(file.read_bytes())
    at = data.draw(st.integers(0, len(content_now) - 1))
    if data.draw(st.booleans()):
        content_now[at] ^= 1 << data.draw(st.integers(0, 7))
    else:
        del content_now[at:]
    file.write_bytes(content_now)
    (folder / "lookups.sqlite-shm").unlink()
    store, refused = made(folder / "lookups.sqlite"), ""
    try:
        assert store.open()
        found = content(store)
    except StateError as error:
        refused = str(error)
    finally:
        store.close()
    if refused:
        assert str(folder / "lookups.sqlite") in refused
    else:
        assert found in allowed(whole, folder.with_name("allowed"))


def allowed(whole: Path, folder: Path) -> list[list[object]]:
    """As it was saved last, and as it was filled: which of them it is the place in the log says."""
    found = []
    for names in (("lookups.sqlite", "lookups.sqlite-wal"), ("lookups.sqlite",)):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in names:
            shutil.copy(whole / name, folder / name)
        store = made(folder / "lookups.sqlite")
        assert store.open()
        found.append(content(store))
        store.close()
    return found


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("UPDATE kept_0 SET key = CAST('[99]' AS BLOB) WHERE key = CAST('[3]' AS BLOB)", "checksum"),
        ("UPDATE rows_0 SET key = CAST('[99]' AS BLOB) WHERE key = CAST('[3]' AS BLOB)", "checksum"),
        ("UPDATE rows_0 SET version = 2 WHERE key = CAST('[3]' AS BLOB)", "checksum"),
        ("UPDATE rows_0 SET row = 7 WHERE key = CAST('[3]' AS BLOB)", "is damaged"),
        ("UPDATE versions SET definition = CAST('[]' AS BLOB)", "checksum"),
        ("UPDATE waiting SET after = NULL", "checksum"),
        ("UPDATE meta SET value = CAST('[]' AS BLOB) WHERE name = 'as_of'", "checksum"),
        ("DELETE FROM meta WHERE name = 'origin'", "it has no origin"),
        ("DROP TABLE kept_0", "no such table"),
        ("DROP INDEX rows_0_by_0", "no such index"),
    ],
)
def test_what_somebody_changed_is_refused(whole: Path, tmp_path: Path, statement: str, reason: str) -> None:
    shutil.copytree(whole, tmp_path / "one")
    path = tmp_path / "one" / "lookups.sqlite"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute(statement)
    connection.close()
    with pytest.raises(StateError, match=reason):
        made(path).open()


def test_one_of_another_version_or_of_other_look_ups_is_refused(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(whole, tmp_path / "one")
    path = tmp_path / "one" / "lookups.sqlite"
    with pytest.raises(StateError, match="made for other look-ups"):
        JoinStore(path, 1, [1], ["another layout"]).open()
    monkeypatch.setattr(join_store, "FORMAT", 7)
    with pytest.raises(StateError, match="made for other look-ups"):
        made(path).open()


def test_no_file_is_none(tmp_path: Path) -> None:
    assert not made(tmp_path / "lookups.sqlite").open()
