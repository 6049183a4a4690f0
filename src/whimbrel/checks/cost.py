"""What load and table will cost, and how long the load takes: an estimate from a real sample and dated prices."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

from whimbrel.checks.engines import NAMES as ENGINES
from whimbrel.checks.engines import Engines
from whimbrel.checks.findings import Finding, finding
from whimbrel.checks.following import Following
from whimbrel.errors import ProjectError
from whimbrel.project import Target

# A new on-demand table takes so many write units a second at once, and so much one partition key at any time:
# https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/on-demand-capacity-mode.html
NEW_TABLE_RATE = 4000.0
PARTITION_RATE = 1000.0
ITEM_OVERHEAD = 100  # bytes of storage an item is billed for beyond its size
GB = 1 << 30
DAY_HOURS = 24.0
DEFAULT_REGION = "us-east-1"
_NAMES = {
    "write_million": "on-demand writes",
    "write_hour": "provisioned writes",
    "storage_gb": "storage",
    "import_gb": "an import from S3",
}


@dataclass(frozen=True, slots=True)
class Prices:
    """US dollars; a price that the file does not have is None, or not in ``engines``. ``region`` is whose prices these
    are.
    """

    region: str
    as_of: str
    origin: str
    known: bool
    write_million: float | None = None
    write_hour: float | None = None
    storage_gb: float | None = None
    import_gb: float | None = None
    engines: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TableLoad:
    """One table's load. ``heaviest_share`` is the part of its rows that one partition key has."""

    items: float
    item_bytes: float
    write_units: float
    json_bytes: float
    heaviest_share: float = 0.0


@dataclass(frozen=True, slots=True)
class LoadWay:
    """One way to load. ``dollars`` is None without a price, ``hours`` where nobody can say."""

    name: str
    rate: float | None
    hours: float | None
    dollars: float | None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Cost:
    prices: Prices
    items: float
    item_bytes: float
    write_units: float
    storage_gb: float
    storage_dollars: float | None
    ways: list[LoadWay] = field(default_factory=list)
    following: Following | None = None  # None where nothing was written recently
    engines: Engines | None = None  # None where the source could not be read


def read_prices(path: Path | None, region: str) -> Prices:
    """From ``path``, else the file that comes with whimbrel. Raises ProjectError for one that is not a price file."""
    origin = str(path) if path else "the file of this version"
    try:
        text = (
            path.read_text(encoding="utf-8") if path else (files("whimbrel.checks") / "prices.toml").read_text("utf-8")
        )
        document = tomllib.loads(text)
        regions = document["regions"]
        found: dict[str, Any] = regions.get(region, {})
        prices = {name: float(found[name]) for name in _NAMES if name in found}
        as_of = str(found.get("as_of", document["as_of"]))
        of_engines = {name: float(price) for name, price in found.get("engines", {}).items() if name in ENGINES}
        return Prices(region, as_of, origin, known=region in regions, engines=of_engines, **prices)
    except OSError as error:
        raise ProjectError(f"cannot be read: {error.strerror}", place=origin, hint="Name another file.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise ProjectError(
            f"is not a price file: {type(error).__name__}: {error}",
            place=origin,
            hint="It has as_of and [regions.NAME], see docs/check.md.",
        ) from None


def cost_of(loads: list[TableLoad], target: Target, prices: Prices, following: Following | None = None) -> Cost:
    """Of all tables' loads one after the other, as whimbrel does them."""
    items, units = sum(load.items for load in loads), sum(load.write_units for load in loads)
    size = sum(load.items * load.item_bytes for load in loads)
    storage = (size + items * ITEM_OVERHEAD) / GB
    return Cost(
        prices=prices,
        items=items,
        item_bytes=size / items if items else 0.0,
        write_units=units,
        storage_gb=storage,
        storage_dollars=_times(storage, prices.storage_gb),
        ways=[_on_demand(loads, units, target, prices), _provisioned(loads, target, prices), _import(loads, prices)],
        following=following,
    )


def load_seconds(loads: list[TableLoad], rate: float) -> float:
    """A partition key takes its own rate at most, so a heavy one can hold the rest up."""
    return sum(max(load.write_units / rate, load.write_units * load.heaviest_share / PARTITION_RATE) for load in loads)


def chosen_way(cost: Cost, target: Target) -> LoadWay:
    """The way that the project file asks for."""
    return cost.ways[1] if target.billing == "provisioned" else cost.ways[0]


def cost_findings(cost: Cost, target: Target) -> Iterator[Finding]:
    way = chosen_way(cost, target)
    if way.hours and way.hours > DAY_HOURS:
        yield finding("slow-load", "target", f"about {way.hours:,.0f} hours at {way.rate:,.0f} write units a second")
    if not cost.prices.known:
        yield finding("prices", "target.region", f"{cost.prices.region} is not in {cost.prices.origin}")
    elif missing := [words for name, words in _NAMES.items() if getattr(cost.prices, name) is None]:
        reason = f"of {cost.prices.region}, {cost.prices.origin} has none for {', '.join(missing)}"
        yield finding("prices", "target.region", reason)


def known_prices(prices: Prices) -> dict[str, float]:
    """All of them, by their names in the file."""
    found = {name: getattr(prices, name) for name in _NAMES}
    return {**prices.engines, **{name: price for name, price in found.items() if price is not None}}


def _on_demand(loads: list[TableLoad], units: float, target: Target, prices: Prices) -> LoadWay:
    rate = target.max_write_units or NEW_TABLE_RATE
    note = "max_write_units" if target.max_write_units else "what a new table takes at once; it grows, or is pre-warmed"
    dollars = _times(units / 1e6, prices.write_million)
    return LoadWay("on-demand", rate, load_seconds(loads, rate) / 3600, dollars, note)


def _provisioned(loads: list[TableLoad], target: Target, prices: Prices) -> LoadWay:
    rate = float(target.write_capacity or target.max_write_units or NEW_TABLE_RATE)
    if target.max_write_units:
        rate = min(rate, target.max_write_units)
    hours = load_seconds(loads, rate) / 3600
    dollars = _times(math.ceil(hours) * float(target.write_capacity or rate), prices.write_hour)
    return LoadWay("provisioned", rate, hours, dollars, "for the hours of the load only, each begun hour in full")


def _import(loads: list[TableLoad], prices: Prices) -> LoadWay:
    size = sum(load.items * load.json_bytes for load in loads) / GB
    note = f"{size:,.2f} GB of DynamoDB JSON; takes no write units, only into new tables; AWS names no rate"
    return LoadWay("import from S3", None, None, _times(size, prices.import_gb), note)


def _times(amount: float, price: float | None) -> float | None:
    return None if price is None else amount * price
