"""What ``whimbrel check`` and ``preview`` print of their results, for people."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import orjson

from whimbrel.api.checks import CheckReport, Preview, PreviewedItem

if TYPE_CHECKING:
    from whimbrel.checks.access.served import Access
    from whimbrel.checks.cost import Cost, LoadWay
    from whimbrel.checks.engines import EngineCost, Engines, LogSize
    from whimbrel.checks.run import TableFacts

WORTH_SAYING = 0.01  # the share of one partition key
ROWS_SHOWN = 10  # of one item


def report_lines(report: CheckReport) -> Iterator[str]:
    for each in report.findings:
        yield f"{each.severity:<8} {each.place}: {each.reason}  [{each.code}]"
        yield f"         {each.remedy}"
    if report.findings:
        yield ""
    yield from _source_lines(report)
    for facts in report.tables:
        yield from _table_lines(facts)
    if report.cost and report.tables:
        yield from _cost_lines(report.cost)
    if report.access is not None:
        yield from access_lines(report.access)
    yield (
        "Not ready: fix the errors above." if report.errors else "Ready. Next: whimbrel preview, then whimbrel migrate"
    )


def _source_lines(report: CheckReport) -> Iterator[str]:
    if source := report.source:
        kept = f"kept for {source.retention / 3600:,.0f} h" if source.retention else "kept until it is purged by hand"
        size = f"{source.binlog_bytes / 1e6:,.1f} MB in {source.binlog_files} files"
        yield f"source   {source.flavor} {source.version}; binlog of {size}, {kept}"
    writes = report.writes
    if writes and writes.since:
        rate = f"{writes.per_second:,.1f} changes a second, {writes.transactions:,} transactions"
        yield f"writes   {rate} in {writes.seconds / 60:,.1f} minutes of {writes.origin}"
    if writes and writes.ended:
        yield f"         read no further: {writes.ended}"


def _table_lines(facts: TableFacts) -> Iterator[str]:
    about = "" if facts.exact else "about "
    yield f"table    {facts.source} → {facts.target}: {about}{facts.rows:,} rows make {_items_text(facts)}"
    for each in [each for each in facts.heaviest[:3] if each.share >= WORTH_SAYING]:
        yield f"         {each.key}: {each.rows:,} rows, {each.share:.1%}"
    for key, count in [each for each in facts.heaviest_writes[:3] if each[1] >= facts.recent_changes * WORTH_SAYING]:
        yield f"         {key}: {count:,} of {facts.recent_changes:,} recent changes"


def _items_text(facts: TableFacts) -> str:
    if not facts.sizes:
        return "no items"
    average = f"of {facts.sizes.bytes:,.0f} bytes and {facts.sizes.write_units:,.2f} write units on average"
    return f"about {facts.items:,.0f} items {average} ({facts.sizes.sampled:,} sampled)"


def _cost_lines(cost: Cost) -> Iterator[str]:
    prices = cost.prices
    yield f"cost     {cost.write_units:,.0f} write units; prices of {prices.as_of} in {prices.region}: check them"
    for way in cost.ways:
        yield f"         {_way_text(way)}"
    storage = _dollars(cost.storage_dollars)
    yield f"         storage: {cost.storage_gb:,.3f} GB, {storage} a month"
    if each := cost.following:
        rates = f"{each.changes:,.1f} changes a second are {each.writes:,.1f} writes"
        units = f"{each.write_units:,.1f} write units a second"
        yield f"         following: {rates} and {units}: {_dollars(each.dollars)} a month on demand"
    if cost.engines:
        yield from _engine_lines(cost.engines)


def _engine_lines(engines: Engines) -> Iterator[str]:
    """What is needed, then what else there would be."""
    yield f"engines  load: {engines.load.engine or '?'}: {engines.load.reason}"
    yield f"         changes: {engines.changes.engine or '?'}: {engines.changes.reason}"
    yield f"         log: {_log_text(engines.log)}"
    for each in engines.costs:
        when = "a month" if each.per == "month" else "once"
        yield f"         {each.engine}: {each.what}, {when}: {_engine_price(each)}"


def _log_text(log: LogSize) -> str:
    hour = "" if log.hour_gb is None else f"{log.hour_gb:,.2f} GB for each hour in which nobody applies changes"
    if log.load_gb is None or log.hours is None:
        return hour or "how much of the disk it takes is not known, as the recent writes are not"
    return f"{log.load_gb:,.2f} GB of the disk for the {log.hours:,.2f} h of the load, and {hour}"


def _engine_price(each: EngineCost) -> str:
    if not each.note:
        return "not known"
    least = "" if each.least is None else f"{_dollars(each.least)} to "
    return f"{least}{_dollars(each.dollars)} ({each.note})"


def _way_text(way: LoadWay) -> str:
    rate = f"at {way.rate:,.0f} a second: " if way.rate else ""
    hours = "" if way.hours is None else f"{way.hours:,.2f} h, "
    return f"{way.name}: {rate}{hours}{_dollars(way.dollars)} ({way.note})"


def _dollars(amount: float | None) -> str:
    return "no price" if amount is None else f"${amount:,.2f}"


def access_lines(access: Access) -> Iterator[str]:
    """For people: the most frequent first, each with its call."""
    said = sum(each.count for each in access.patterns)
    yield (
        f"access   {said:,} statements of {access.origin} in {len(access.patterns):,} patterns, "
        f"about {access.read_units:,.1f} read units; {access.other:,} about other tables"
    )
    for each in access.patterns:
        answer = each.answer
        units = "" if answer.units is None else f", {answer.units:,.1f} {'write' if answer.writes else 'read'} units"
        index = f" {answer.index}" if answer.index else ""
        yield f"         {each.share:6.1%}  {answer.verdict}{index}{units}: {each.statement}"
        if answer.call:
            yield f"                 {answer.call}"
        for note in answer.notes:
            yield f"                 # {note}"
    for text, count, why in access.unread:
        yield f"         not read, {count:,}: {text}  # {why}"


def preview_lines(preview: Preview) -> Iterator[str]:
    for table in preview.tables:
        yield f"{table.source} → {table.target}"
        if not table.items:
            yield "  no rows"
        for each in table.items:
            yield ""
            yield from _item_lines(each)
        yield ""


def _item_lines(each: PreviewedItem) -> Iterator[str]:
    for row in each.rows[:ROWS_SHOWN]:
        yield f"  row   {_text(row)}"
    if len(each.rows) > ROWS_SHOWN:
        yield f"        and {len(each.rows) - ROWS_SHOWN:,} more rows"
    if each.item is not None:
        yield f"  item  {_text(each.item)}"
        yield f"        {each.bytes:,} bytes, {each.write_units} write unit{'s' if (each.write_units or 0) > 1 else ''}"
    for reason in each.dead_letters:
        yield f"  dead  {reason}"


def _text(values: dict[str, Any]) -> str:
    return orjson.dumps(values).decode()
