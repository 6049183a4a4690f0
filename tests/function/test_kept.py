"""Changes that no record takes: each is an object of a bucket, and the function finds it there."""

from __future__ import annotations

import gzip
import random
from base64 import b64decode
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from demo.event_source import Event
from demo.servers import Ministack
from demo.servers.dynamo import local_client
from demo.servers.process import free_port
from tests.conftest import unique
from tests.function.streamed import Killed, Streamed
from tests.migration.applied import TABLES, delete, insert, update
from whimbrel.bucket import Bucket
from whimbrel.errors import PrivilegeError, TargetUnreachable
from whimbrel.kinesis import kept, packed
from whimbrel.kinesis.kept import KeptChanges
from whimbrel.kinesis.packed import Interval, KeptLine, Unreadable, reference, unpack
from whimbrel.kinesis.puts import LaneRecord, StreamWriter
from whimbrel.project import Store

MOST = 1 << 20  # bytes of a record


def large(seed: int) -> str:
    """What zlib makes half of: two million bytes."""
    return random.Random(seed).randbytes(2_000_000).hex()


class Keeping:
    """A Streamed with a bucket; ``name``, which is as large as it likes, is not mapped."""

    def __init__(self, streamed: Streamed, s3: Ministack) -> None:
        self.streamed, self.bucket = streamed, unique("bucket")
        self.s3 = local_client("s3", s3.endpoint, s3.region)
        self.s3.create_bucket(Bucket=self.bucket)
        streamed.rules = [replace(rule, exclude=("name",)) for rule in streamed.rules]
        streamed.store = Store(self.bucket, "shop", s3.endpoint)
        self.sizes: list[int] = []
        self._invoke, streamed.mapping.function = streamed.mapping.function, self.noted

    def noted(self, event: Event) -> Any:
        self.sizes += [len(b64decode(each["kinesis"]["data"])) for each in event["Records"]]
        return self._invoke(event)

    def names(self) -> list[str]:
        found = self.s3.list_objects_v2(Bucket=self.bucket).get("Contents", [])
        return [each["Key"] for each in found]

    def send(self) -> None:
        while self.streamed.sender.step():
            pass

    def history(self) -> None:
        """An insert, updates, a move to another item, and a delete, all of them large; and small ones between."""
        source = self.streamed.source
        source.transaction(insert(0, 1, large(1)), insert(0, 2, "small"), insert(1, 3, large(3)))
        source.transaction(update(0, (1, large(1), 1), (1, "small", 2)), update(0, (2, "small", 1), (2, large(2), 3)))
        source.transaction(update(0, (2, large(2), 3), (4, large(2), 4)), delete(1, (3, large(3), 1)))
        source.transaction(insert(1, 5, "small"))

    def assert_equal(self) -> None:
        wanted = self.streamed.source.expected()
        assert self.streamed.held() == {
            pk: {n: v for n, v in item.items() if n != "name"} for pk, item in wanted.items()
        }
        assert len(self.streamed.dead) == 0
        assert max(self.sizes) <= MOST


@pytest.fixture
def keeping(streamed: Streamed, ministack: Ministack, monkeypatch: pytest.MonkeyPatch) -> Keeping:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", ministack.endpoint)
    made = Keeping(streamed, ministack)
    streamed.restart_sender()
    return made


@pytest.mark.parametrize("form", ["packed", "post"])
def test_changes_that_no_record_takes_are_applied(keeping: Keeping, form: str) -> None:
    keeping.streamed.form = form
    keeping.streamed.restart_sender()
    keeping.history()
    keeping.streamed.settle()
    keeping.assert_equal()
    assert len(keeping.names()) == 6  # the change that moves a row is in two lanes, and once in the bucket


@pytest.mark.parametrize(
    "after",
    [pytest.param(False, marks=pytest.mark.slow), True],
    ids=["before the object", "between the object and its record"],
)
def test_a_sender_that_is_killed_leaves_nothing_that_harms(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    """At each of its objects once: it begins again, and what is there already is used."""
    keeping.history()
    put, put_record, left = Bucket.put_new, StreamWriter.put, 0

    def die() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise Killed

    def kept_object(bucket: Bucket, name: str, data: bytes) -> bool:
        if not after:
            die()
        return put(bucket, name, data)

    def put_records(writer: StreamWriter, records: Sequence[LaneRecord]) -> None:
        for record in records:
            if after and unpack(record.data).kept:
                die()
            put_record(writer, [record])

    monkeypatch.setattr(Bucket, "put_new", kept_object)
    monkeypatch.setattr(StreamWriter, "put", put_records)
    for number in range(1, 7):
        left = number
        with pytest.raises(Killed):
            keeping.send()
        keeping.streamed.restart_sender()
    left = 0
    keeping.streamed.settle()
    keeping.assert_equal()
    assert len(keeping.names()) == 6


@pytest.mark.parametrize(
    "damage",
    [None, b"none", gzip.compress(b"{}"), gzip.compress(b"x" * 3_000_000)],
    ids=["gone", "no gzip", "short", "other"],
)
def test_a_change_whose_object_is_not_whole_is_sent_again_with_it(keeping: Keeping, damage: bytes | None) -> None:
    keeping.history()
    keeping.send()
    first, *_ = names = keeping.names()
    if damage is None:
        keeping.s3.delete_object(Bucket=keeping.bucket, Key=first)
    else:
        keeping.s3.put_object(Bucket=keeping.bucket, Key=first, Body=damage)
    with pytest.MonkeyPatch.context() as patch:
        unreadable = list[str]()
        whole = KeptChanges.whole

        def noted(self: KeptChanges, record: packed.Packed) -> packed.Packed:
            try:
                return whole(self, record)
            except Unreadable as reason:
                unreadable.append(str(reason))
                raise

        patch.setattr(KeptChanges, "whole", noted)
        keeping.streamed.settle()
    assert unreadable
    assert all(first in reason for reason in unreadable)
    keeping.assert_equal()
    assert keeping.names() == names


def test_an_object_that_is_gone_is_not_asked_for_when_its_change_is_applied(keeping: Keeping) -> None:
    keeping.history()
    keeping.streamed.settle()
    for name in keeping.names():
        keeping.s3.delete_object(Bucket=keeping.bucket, Key=name)
    earlier = keeping.streamed.mapping
    keeping.streamed.mapping = type(earlier)(keeping.streamed.kinesis, keeping.streamed.stream, keeping.streamed.invoke)
    while keeping.streamed.mapping.step():
        pass
    keeping.assert_equal()


def test_a_batch_comes_again_while_s3_is_away(keeping: Keeping, monkeypatch: pytest.MonkeyPatch) -> None:
    """And its lanes are given back."""
    keeping.history()
    keeping.send()
    bucket, invoke, said = Store(keeping.bucket, "shop", f"http://127.0.0.1:{free_port()}"), keeping.noted, []
    away = KeptChanges(Bucket(bucket, keeping.streamed.target, 0.1, 0.5))
    there = KeptChanges.whole
    monkeypatch.setattr(KeptChanges, "whole", lambda _, record: there(away, record))

    def noted(event: Event) -> Any:
        try:
            return invoke(event)
        except TargetUnreachable as error:
            said.append(error)
            raise

    keeping.streamed.mapping.function = noted
    keeping.streamed.mapping.step()
    assert said
    assert all(lane.until == 0 for lane in keeping.streamed.control.lanes(keeping.streamed.migration))
    monkeypatch.setattr(KeptChanges, "whole", there)
    keeping.streamed.settle()
    keeping.assert_equal()


def test_a_function_without_the_right_to_read_the_bucket_says_so(
    keeping: Keeping, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping.history()
    keeping.send()

    def refused(bucket: Bucket, name: str) -> bytes | None:
        raise PrivilegeError("s3:GetObject is refused", place=bucket.url(name))

    said = list[str]()
    invoke = keeping.noted

    def noted(event: Event) -> Any:
        try:
            return invoke(event)
        except PrivilegeError as error:
            said.append(str(error))
            raise

    keeping.streamed.mapping.function = noted
    with monkeypatch.context() as patch:
        patch.setattr(Bucket, "get", refused)
        keeping.streamed.mapping.step()
    assert said
    assert all(f"s3://{keeping.bucket}/shop/{kept.CHANGES}/" in each for each in said)
    keeping.streamed.settle()
    keeping.assert_equal()


def test_a_reference_is_of_one_change() -> None:
    head = Interval("m", "s", 1, 0, 0, 2, [1, 2], [1.0, 1.0], {TABLES[0].full_name: "d"})
    one = head._replace(numbers=[2], times=[1.0])
    wanted = KeptLine("0" * 64, 12)
    assert unpack(reference(one, wanted)).kept == wanted
    assert unpack(reference(one, wanted)).size == 12
    for wrong in (reference(head, wanted), reference(one, KeptLine("0", "12"))):  # type: ignore[arg-type]
        with pytest.raises(Unreadable):
            unpack(wrong)
