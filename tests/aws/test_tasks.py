"""The tasks of a template, and what starts them by the clock."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.aws.test_template import KEY, PROJECTS, resolved, written


@pytest.mark.parametrize(("name", "role"), [("all", "RenewStartRole"), ("connection", "ConvergeScheduleRole")])
def test_what_starts_by_the_clock_may_use_the_key_of_its_schedule(tmp_path: Path, name: str, role: str) -> None:
    resources = resolved(written(tmp_path, stream=PROJECTS[name], key=KEY)["template.json"], HasKey=True)["Resources"]
    assert {"Ref": "KeyPolicy"} in resources[role]["Properties"]["ManagedPolicyArns"]
    schedules = [each for each in resources.values() if each["Type"] == "AWS::Scheduler::Schedule"]
    assert [each["Properties"]["KmsKeyArn"] for each in schedules] == [{"Ref": "KeyArn"}]


@pytest.mark.parametrize(("name", "memory"), [("all", "RenewMegabytes"), ("connection", "ConvergeMegabytes")])
def test_a_task_has_a_size_that_fargate_has(tmp_path: Path, name: str, memory: str) -> None:
    """By the description of RegisterTaskDefinition: the least and the most memory of so many units."""
    sizes = {"1024": (2_048, 8_192), "2048": (4_096, 16_384), "4096": (8_192, 30_720)}
    template = written(tmp_path, stream=PROJECTS[name])["template.json"]
    [*tasks] = [each for each in template["Resources"].values() if each["Type"] == "AWS::ECS::TaskDefinition"]
    for task in tasks:
        assert task["Properties"]["Memory"] == {"Ref": memory}
        assert task["Properties"]["Cpu"]["Fn::FindInMap"][1] == {"Ref": memory}
    for megabytes in template["Parameters"][memory]["AllowedValues"]:
        least, most = sizes[template["Mappings"]["TaskUnits"][megabytes]["Units"]]
        assert least <= int(megabytes) <= most
        assert int(megabytes) % 1_024 == 0
