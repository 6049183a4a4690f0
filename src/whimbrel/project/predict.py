"""The ``[[model]]`` and ``[[endpoint]]`` parts of the project file: training, serving, renewing."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.project.section import Section


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What is trained: from which data set, which attribute is predicted, by which learner."""

    name: str
    dataset: str
    target: str
    learner: str  # linear | boosted


@dataclass(frozen=True, slots=True)
class Predict:
    models: tuple[ModelRule, ...] = ()


def read_predict(top: Section) -> Predict:
    """Read these parts; what is wrong goes to the section's faults."""
    return Predict(models=tuple(_read_model(each) for each in top.optional_sections("model")))


def _read_model(section: Section) -> ModelRule:
    name = section.required("name")
    rule = ModelRule(
        name=name,
        dataset=section.text("dataset", name),
        target=section.required("target"),
        learner=section.one_of("learner", ("linear", "boosted")),
    )
    section.finish()
    return rule
