"""The alterations of test_alter once more: the changes before and after them go through a stream to the function, which
has the table's versions from the sender, and is deployed once.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from demo.servers import Kinesalite, Ministack, SqlServer
from tests.e2e import test_alter
from tests.e2e.conftest import MakeWork
from tests.e2e.test_alter import Alter
from tests.function.served import Served

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(params=["packed", "post"])
def alter(
    request: pytest.FixtureRequest,
    make_work: MakeWork,
    source_server: SqlServer,
    ministack: Ministack,
    kinesalite: Kinesalite,
) -> Iterator[Alter]:
    with Served(kinesalite, ministack, form=request.param) as served:
        made = Alter(make_work, source_server, ministack)
        made.work.target_settings = f"\n{served.project_lines}"
        made.work.write_project()
        yield made


globals().update({name: each for name, each in vars(test_alter).items() if name.startswith("test_")})
