"""Types written into the project file, whose comments and order stay as they are."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from whimbrel.durable import replace_file
from whimbrel.errors import ProjectError
from whimbrel.lake.need import need
from whimbrel.lake.types import Type


def pin(path: Path, table: str, name: str, key: Sequence[str], types: Mapping[str, Type]) -> bool:
    """Write the attributes' types, and the key where it is missing, into the [[dataset]] of this name, which is made
    if there is none. True if the file has changed. Raises ProjectError when it cannot be written.
    """
    before = path.read_text(encoding="utf-8")
    if _has_all(tomllib.loads(before), name, key, types):  # as after most conversions: tomlkit takes longer to import
        return False
    tomlkit = need("tomlkit", "lake")
    document = tomlkit.parse(before)
    dataset = _dataset(tomlkit, document, table, name)
    if key and "key" not in dataset:
        dataset["key"] = list(key)
    _write_types(tomlkit, dataset, types)
    after: str = tomlkit.dumps(document)
    if after == before:
        return False
    mode = path.stat().st_mode  # the project file holds no data, and others may work with it
    try:
        replace_file(path, after.encode())
        path.chmod(mode)
    except OSError as error:
        raise ProjectError(f"the types cannot be written: {error.strerror}", place=str(path)) from error
    return True


def _has_all(project: dict[str, Any], name: str, key: Sequence[str], types: Mapping[str, Type]) -> bool:
    named = [each for each in project.get("dataset", ()) if each.get("name", each["table"]) == name]
    if not named or (key and "key" not in named[0]):
        return False
    columns = named[0].get("columns")
    return columns is not None and all(columns.get(attribute) == str(kind) for attribute, kind in types.items())


def _dataset(tomlkit: Any, document: Any, table: str, name: str) -> Any:
    if "dataset" not in document:
        document.append("dataset", tomlkit.aot())
    for each in document["dataset"]:
        if each.get("name", each["table"]) == name:
            return each
    made = tomlkit.table()
    made["table"] = table
    if name != table:
        made["name"] = name
    document["dataset"].append(made)
    return document["dataset"][-1]


def _write_types(tomlkit: Any, dataset: Any, types: Mapping[str, Type]) -> None:
    if "columns" not in dataset:
        # As text, since a table takes the longer to be added to the more it has.
        lines = (
            f"{tomlkit.key(name).as_string()} = {tomlkit.string(str(kind)).as_string()}\n"
            for name, kind in types.items()
        )
        dataset["columns"] = tomlkit.parse(f"[columns]\n{''.join(lines)}\n")["columns"]
    columns = dataset["columns"]
    for attribute, kind in types.items():
        if columns.get(attribute) != str(kind):
            columns[attribute] = str(kind)
