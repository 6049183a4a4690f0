"""Sets of global transaction ids: what a Position's ``gtid`` text means, and how it grows by one transaction.

MySQL writes ``uuid:1-5:7,uuid2:1-3``, since 8.3 with tags (``uuid:1-5:tag:1-2``); MariaDB the last of each domain,
``domain-server-sequence,...``. Sources: mysql-server sql/rpl_gtid_set.cc, MariaDB sql/rpl_gtid.cc.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from functools import lru_cache

from whimbrel.errors import PositionLost

Interval = list[int]  # [first, last], both included


class MySQLGtids:
    """Executed transactions of MySQL: for each (uuid, tag) its intervals, ordered and apart from each other."""

    def __init__(self, text: str = "") -> None:
        self._intervals: dict[tuple[str, str], list[Interval]] = {}
        self._parts: dict[tuple[str, str], str] = {}
        self._text: str | None = None
        for source in filter(None, (part.strip() for part in text.replace("\n", "").split(","))):
            self._read_source(source)

    def _read_source(self, text: str) -> None:
        uuid, *parts = (part.strip().lower() for part in text.split(":"))
        if len(uuid) != 36 or not parts:
            raise PositionLost(f"not a GTID set of MySQL: {text!r}", hint="Give the text of @@gtid_executed.")
        tag = ""
        for part in parts:
            if part[0].isalpha() or part[0] == "_":
                tag = part
            else:
                first, _, last = part.partition("-")
                self.add_range(uuid, tag, int(first), int(last or first))

    def add(self, uuid: str, tag: str, number: int) -> None:
        """One transaction. The usual one follows the newest of its source, and costs no search."""
        intervals = self._intervals.get((uuid, tag))
        if intervals and intervals[-1][1] + 1 == number:
            intervals[-1][1] = number
            self._changed((uuid, tag))
        else:
            self.add_range(uuid, tag, number, number)

    def add_range(self, uuid: str, tag: str, first: int, last: int) -> None:
        intervals = self._intervals.setdefault((uuid, tag), [])
        # Those before it end at least two numbers earlier: one that ends right before it becomes one with it.
        start = bisect_right(intervals, first - 1, key=lambda interval: interval[1] + 1)
        stop = start
        while stop < len(intervals) and intervals[stop][0] <= last + 1:
            first, last = min(first, intervals[stop][0]), max(last, intervals[stop][1])
            stop += 1
        intervals[start:stop] = [[first, last]]
        self._changed((uuid, tag))

    def without(self, other: MySQLGtids) -> MySQLGtids:
        """The transactions that ``other`` has not."""
        rest = MySQLGtids()
        for source, intervals in self._intervals.items():
            for first, last in intervals:
                for low, high in other._intervals.get(source, ()):
                    if low > last:
                        break
                    if high >= first:
                        if low > first:
                            rest.add_range(*source, first, low - 1)
                        first = high + 1
                if first <= last:
                    rest.add_range(*source, first, last)
        return rest

    def _changed(self, source: tuple[str, str]) -> None:
        self._parts.pop(source, None)
        self._text = None

    def _part(self, source: tuple[str, str]) -> str:
        part = self._parts.get(source)
        if part is None:
            ranges = (str(a) if a == b else f"{a}-{b}" for a, b in self._intervals[source])
            part = self._parts[source] = ":".join(ranges)
        return part

    def __str__(self) -> str:
        if self._text is None:
            text: list[str] = []
            last_uuid = ""
            for source in self._intervals if len(self._intervals) == 1 else sorted(self._intervals):
                uuid, tag = source
                head = (f",{uuid}" if text else uuid) if uuid != last_uuid else ""
                text.append(f"{head}:{tag}:{self._part(source)}" if tag else f"{head}:{self._part(source)}")
                last_uuid = uuid
            self._text = "".join(text)
        return self._text

    def __bool__(self) -> bool:
        return bool(self._intervals)

    def encode(self) -> bytes:
        """As COM_BINLOG_DUMP_GTID wants it (Gtid_set::encode); the form with tags only where there are tags."""
        tagged = any(tag for _, tag in self._intervals)
        count = len(self._intervals)
        blocks = [struct.pack("<Q", 1 << 56 | count << 8 | 1 if tagged else count)]
        for uuid, tag in sorted(self._intervals):
            blocks.append(bytes.fromhex(uuid.replace("-", "")))
            if tagged:
                blocks.append(bytes([len(tag) << 1]) + tag.encode())
            intervals = self._intervals[uuid, tag]
            blocks.append(struct.pack("<Q", len(intervals)))
            blocks.extend(struct.pack("<QQ", first, last + 1) for first, last in intervals)
        return b"".join(blocks)

    @classmethod
    def decode(cls, data: bytes) -> MySQLGtids:
        """The body of a PREVIOUS_GTIDS event, which has the same form."""
        (head,) = struct.unpack_from("<Q", data)
        tagged = head >> 56 == 1
        count = (head >> 8) & 0xFFFFFFFFFFFF if tagged else head & 0xFFFFFFFFFFFFFF
        gtids, at = cls(), 8
        for _ in range(count):
            uuid, tag = uuid_text(data[at : at + 16]), ""
            at += 16
            if tagged:
                length = data[at] >> 1
                tag = data[at + 1 : at + 1 + length].decode("ascii")
                at += 1 + length
            (intervals,) = struct.unpack_from("<Q", data, at)
            at += 8
            for first, end in struct.iter_unpack("<QQ", data[at : at + 16 * intervals]):
                gtids.add_range(uuid, tag, first, end - 1)
            at += 16 * intervals
        return gtids


class MariaDBGtids:
    """The last transaction of each domain of MariaDB."""

    def __init__(self, text: str = "") -> None:
        self._last: dict[int, tuple[int, int]] = {}
        self._text: str | None = None
        for gtid in filter(None, (part.strip() for part in text.split(","))):
            self.add(*self.parsed(gtid))

    @staticmethod
    def parsed(gtid: str) -> tuple[int, int, int]:
        """Domain, server, sequence. Raises PositionLost."""
        try:
            domain, server, sequence = map(int, gtid.split("-"))
        except ValueError as error:
            message = f"not a GTID of MariaDB: {gtid!r}"
            raise PositionLost(message, hint="Give the text of @@gtid_binlog_pos.") from error
        return domain, server, sequence

    def add(self, domain: int, server: int, sequence: int) -> None:
        self._last[domain] = (server, sequence)
        self._text = f"{domain}-{server}-{sequence}" if len(self._last) == 1 else None

    def ahead_of(self, other: MariaDBGtids) -> bool:
        """Some domain is further here than there, so ``other`` cannot serve what comes after this."""
        return any(sequence > other._last.get(domain, (0, 0))[1] for domain, (_, sequence) in self._last.items())

    def __str__(self) -> str:
        if self._text is None:
            last = sorted(self._last.items())
            self._text = ",".join([f"{domain}-{server}-{sequence}" for domain, (server, sequence) in last])
        return self._text

    def __bool__(self) -> bool:
        return bool(self._last)

    @classmethod
    def decode(cls, data: bytes) -> MariaDBGtids:
        """The body of a GTID_LIST event: for each domain all servers, the last one written last."""
        (count,) = struct.unpack_from("<I", data)
        gtids = cls()
        for domain, server, sequence in struct.iter_unpack("<IIQ", data[4 : 4 + 16 * (count & 0x0FFFFFFF)]):
            gtids.add(domain, server, sequence)
        return gtids


@lru_cache(4096)
def uuid_text(data: bytes) -> str:
    text = data.hex()
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
