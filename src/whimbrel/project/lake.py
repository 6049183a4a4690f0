"""The ``[lake]`` and ``[[dataset]]`` parts of the project file: exports, data sets and SQL over them."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.project.section import Section


@dataclass(frozen=True, slots=True)
class Dataset:
    """A DynamoDB table as a typed data set. ``name`` is its name in SQL, the table's own unless given."""

    table: str
    name: str


@dataclass(frozen=True, slots=True)
class Lake:
    """Where exports and data sets lie, and which tables they are made of."""

    folder: str = "lake"
    datasets: tuple[Dataset, ...] = ()


def read_lake(top: Section) -> Lake:
    """Read both parts; what is wrong goes to the section's faults."""
    section = top.section("lake")
    folder = section.text("folder", "lake")
    section.finish()
    datasets = tuple(_read_dataset(each) for each in top.optional_sections("dataset"))
    return Lake(folder=folder, datasets=datasets)


def _read_dataset(section: Section) -> Dataset:
    table = section.required("table")
    dataset = Dataset(table=table, name=section.text("name", table))
    section.finish()
    return dataset
