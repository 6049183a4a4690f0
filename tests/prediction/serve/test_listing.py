"""Lists as boto3's paginators ask for them: every entry once, and no filter without an effect."""

from __future__ import annotations

from typing import Any

import pytest

from tests.prediction.serve.conftest import ENDPOINT, Running
from whimbrel.errors import UserError
from whimbrel.prediction.sagemaker.listing import listed

JOBS = [
    {"TrainingJobName": f"job-{n}", "CreationTime": 100.0 + n, "TrainingJobStatus": "Failed" if n % 2 else "Completed"}
    for n in range(7)
]


def names(**given: Any) -> list[str]:
    return [each["TrainingJobName"] for each in listed("Jobs", "TrainingJob", JOBS, given)["Jobs"]]


def test_pages_have_every_entry_once() -> None:
    found: list[str] = []
    asked: dict[str, Any] = {"MaxResults": 3}
    while True:
        page = listed("Jobs", "TrainingJob", JOBS, asked)
        found += [each["TrainingJobName"] for each in page["Jobs"]]
        if "NextToken" not in page:
            break
        asked["NextToken"] = page["NextToken"]
    assert found == [f"job-{n}" for n in reversed(range(7))]
    assert "NextToken" not in listed("Jobs", "TrainingJob", JOBS[:3], {"MaxResults": 3})
    assert listed("Jobs", "TrainingJob", [], {"MaxResults": 3}) == {"Jobs": []}


def test_filters_and_orders() -> None:
    assert names(NameContains="B-3") == ["job-3"]
    assert names(StatusEquals="Failed") == ["job-5", "job-3", "job-1"]
    assert names(SortBy="Name", SortOrder="Ascending", MaxResults=2) == ["job-0", "job-1"]
    assert names(SortBy="Status", SortOrder="Ascending")[0] == "job-0"
    assert names(CreationTimeAfter=104, CreationTimeBefore=106.0) == ["job-5"]


@pytest.mark.parametrize(
    "given",
    [
        {"WarmPoolStatusEquals": "Available"},
        {"LastModifiedTimeAfter": 1},
        {"SortBy": "Size"},
        {"SortOrder": "Up"},
        {"NextToken": "-1"},
        {"MaxResults": 0},
    ],
)
def test_what_would_be_without_effect_is_refused_by_name(given: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        names(**given)
    assert min(given) in str(caught.value)


def test_a_paginator_of_boto3_ends(server: Running) -> None:
    pages = server.client("sagemaker").get_paginator("list_endpoints").paginate(PaginationConfig={"PageSize": 1})
    assert [each["EndpointName"] for page in pages for each in page["Endpoints"]] == [ENDPOINT]
