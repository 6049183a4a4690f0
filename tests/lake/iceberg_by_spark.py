"""``iceberg_by_spark.py FOLDER METADATA SNAPSHOT...``: what Spark reads of an Iceberg table by its file of metadata, a
line of JSON for each snapshot. FOLDER has the packages of requirements/spark-iceberg.txt.

Iceberg's package for Spark has Jackson, which reads its metadata, under a name of Iceberg's, so that it does not meet
Spark's. The package that PyPI has lacks it: here Spark's own Jackson gets that name, as Iceberg's build gives it.
"""

from __future__ import annotations

import json
import struct
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

JACKSON, ICEBERGS = b"com/fasterxml/jackson", b"org/apache/iceberg/shaded/com/fasterxml/jackson"
NAMES = ("core", "databind", "annotations")
# The length of each constant of a class file by its tag, without the texts (1).
LENGTHS = {3: 5, 4: 5, 5: 9, 6: 9, 7: 3, 8: 3, 9: 5, 10: 5, 11: 5, 12: 5, 15: 4, 16: 3, 17: 5, 18: 5, 19: 3, 20: 3}
TEXT, TWO_PLACES = 1, (5, 6)


def renamed(code: bytes) -> bytes:
    """A class file in which every name of Jackson's is Iceberg's."""
    (count,) = struct.unpack_from(">H", code, 8)
    made, at, number = bytearray(code[:10]), 10, 1
    while number < count:
        tag = code[at]
        length = 3 + struct.unpack_from(">H", code, at + 1)[0] if tag == TEXT else LENGTHS[tag]
        constant = code[at : at + length]
        if tag == TEXT:
            text = constant[3:].replace(JACKSON, ICEBERGS).replace(dotted(JACKSON), dotted(ICEBERGS))
            constant = struct.pack(">BH", TEXT, len(text)) + text
        made += constant
        at += length
        number += 2 if tag in TWO_PLACES else 1
    return bytes(made) + code[at:]


def dotted(name: bytes) -> bytes:
    return name.replace(b"/", b".")


def write_jackson(jars: Path, to: Path) -> None:
    with zipfile.ZipFile(to, "w") as made:
        for name in NAMES:
            [jar] = jars.glob(f"jackson-{name}-2.*.jar")
            with zipfile.ZipFile(jar) as source:
                for each in source.namelist():
                    if each.startswith(JACKSON.decode()) and each.endswith(".class"):
                        made.writestr(each.replace(JACKSON.decode(), ICEBERGS.decode()), renamed(source.read(each)))


def read(folder: Path, metadata: str, snapshots: list[str], scratch: Path) -> Iterator[list[dict[str, Any]]]:
    from pyspark.sql import SparkSession

    write_jackson(folder / "pyspark" / "jars", scratch / "jackson.jar")
    [iceberg] = (folder / "snowpark_connect_deps_iceberg" / "jars").glob("iceberg-spark-runtime-3.5_2.12-*.jar")
    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.jars", f"{scratch / 'jackson.jar'},{iceberg}")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", str(scratch))
        .config("spark.sql.warehouse.dir", str(scratch))
        .config("spark.ui.enabled", "false")
        .getOrCreate()
    )
    for snapshot in snapshots:
        rows = session.read.format("iceberg").option("snapshot-id", snapshot).load(metadata).collect()
        yield [row.asDict(recursive=True) for row in rows]
    session.stop()


def plain(value: Decimal | bytearray) -> str:
    """What JSON has no form for."""
    return str(value) if isinstance(value, Decimal) else value.hex()


def main() -> None:
    place, metadata, *snapshots = sys.argv[1:]
    sys.path.insert(0, place)
    with tempfile.TemporaryDirectory() as scratch:
        for rows in read(Path(place), metadata, snapshots, Path(scratch)):
            print(json.dumps(rows, default=plain))


if __name__ == "__main__":
    main()
