"""Memory is bounded whatever the table's size: four times the rows, and the same peak."""

from __future__ import annotations

import pytest

from demo.servers import MariaDB, Ministack
from demo.shop import CREATE
from tests.e2e.conftest import MakeWork
from tests.e2e.peaks import peak
from tests.e2e.work import GROUP, UNALIGNED

COMMANDS = {"migrate": ("migrate", "--until-caught-up"), "verify": ("verify",)}
LINES = 100  # to an order: few items, for the sake of the local server


@pytest.mark.slow
# Of the second, such sizes that the partitions on disk have as many rows each in the large table as in the small one.
@pytest.mark.parametrize(("mapping", "small"), [(GROUP, 60_000), (UNALIGNED, 90_000)], ids=["aligned", "regrouped"])
def test_the_peak_does_not_grow_with_the_table(
    make_work: MakeWork, mariadb: MariaDB, ministack: Ministack, mapping: str, small: int
) -> None:
    peaks: dict[int, dict[str, float]] = {}
    for rows in (small, 4 * small):
        work = make_work(mariadb, ministack, mapping=f"{mapping}\n[run]\nworkers = 1")  # the same for both sizes
        work.source_settings = "chunk_rows = 20000\nconnections = 2"
        work.target_settings = "concurrency = 1"  # so that a scan has whole pages, of 1 MB, also of the small table
        work.folder /= str(rows)
        work.folder.mkdir()
        work.write_project()
        work.source.execute(
            CREATE,
            f"INSERT INTO purchase SELECT CONCAT('c', seq DIV {3 * LINES}), CONCAT('o', seq DIV {LINES}), "
            f"CONCAT('p', seq MOD {LINES}), seq FROM seq_1_to_{rows}",
            database=work.database,
        )
        peaks[rows] = {name: peak(work, *command) for name, command in COMMANDS.items()}
    print(peaks)
    for name, large in peaks[4 * small].items():
        assert large < 250, f"{name} took {large} MB"
        assert large < 1.2 * peaks[small][name], f"{name} grows: {peaks}"
