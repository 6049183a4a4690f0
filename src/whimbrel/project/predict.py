"""The ``[[model]]`` and ``[[endpoint]]`` parts of the project file: training, serving, renewing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from whimbrel.project.endpoint import EndpointRule, Serve, read_endpoints, read_serve
from whimbrel.project.renew import RenewalRule, read_renewals
from whimbrel.project.sagemaker import (
    ENGINES,
    LINEAR_LEARNER,
    MOST_TEXT,
    SageMaker,
    TrainingMachine,
    read_sagemaker,
    read_training,
)
from whimbrel.project.section import Section

LEARNERS = ("linear", "boosted")
KINDS = ("auto", "binary", "multiclass", "regression")
# SageMaker's names (binary_classifier_model_selection_criteria) where it has one.
CRITERIA = (
    "f1",
    "f_beta",
    "accuracy",
    "precision_at_target_recall",
    "recall_at_target_precision",
    "cost",
    "fixed",
)


@dataclass(frozen=True, slots=True)
class ThresholdRule:
    """How the score from which a row is called positive is chosen. Only what the criterion names is used.

    ``recall`` and ``precision`` are the least that is accepted; the two costs are those of one wrong answer each;
    ``value`` is the threshold itself, for ``fixed``.
    """

    criterion: str = "f1"
    beta: float = 1.0
    recall: float = 0.8
    precision: float = 0.8
    false_positive: float = 1.0
    false_negative: float = 1.0
    value: float = 0.5


@dataclass(frozen=True, slots=True)
class ModelRule:
    """What is trained: from which data set, which attribute is predicted, by which learner.

    ``split``: ``stratified`` draws the hold-out by ``seed``; ``time`` takes the latest rows by the attribute ``time``,
    or the last rows where that is "". ``types`` says ``number``, ``category`` or ``date`` where the data set's type
    does not.
    ``refit``: after the hold-out has been scored, fit once more on all rows.
    """

    name: str
    dataset: str
    target: str
    learner: str = "linear"  # linear | boosted | linear-learner, which is SageMaker's
    kind: str = "auto"  # auto | binary | multiclass | regression
    positive: str = ""
    exclude: tuple[str, ...] = ()
    types: dict[str, str] = field(default_factory=dict)
    split: str = "stratified"  # stratified | time
    time: str = ""
    holdout: float = 0.2
    seed: int = 0
    balance: str = "none"  # none | balanced
    calibration: str = "sigmoid"  # sigmoid | isotonic | none
    threshold: ThresholdRule = ThresholdRule()
    refit: bool = False
    training: TrainingMachine | None = None  # None: it is trained in this process

    @property
    def categories(self) -> list[str]:
        """The columns that are said to be categories."""
        return [name for name, kind in self.types.items() if kind == "category"]

    def settings(self) -> dict[str, Any]:
        """Everything by which one model differs from another: not the machine that it is trained on."""
        values = asdict(self)
        training = values.pop("training")
        return values | ({"hyperparameters": training["hyperparameters"]} if self.learner == LINEAR_LEARNER else {})


@dataclass(frozen=True, slots=True)
class Predict:
    models: tuple[ModelRule, ...] = ()
    endpoints: tuple[EndpointRule, ...] = ()
    serve: Serve = field(default_factory=Serve)
    renewals: tuple[RenewalRule, ...] = ()
    sagemaker: SageMaker | None = None

    @property
    def on_sagemaker(self) -> bool:
        """Whether anything of it is trained or served there."""
        return any(rule.training for rule in self.models) or any(rule.hosting for rule in self.endpoints)

    @property
    def renewals_there(self) -> tuple[RenewalRule, ...]:
        """Those of which the model is trained there, or the endpoint is."""
        models = {rule.name for rule in self.models if rule.training}
        endpoints = {rule.name for rule in self.endpoints if rule.hosting}
        return tuple(each for each in self.renewals if each.model in models or each.endpoint in endpoints)


def read_predict(top: Section) -> Predict:
    """Read these parts; what is wrong goes to the section's faults."""
    models = tuple(read_model(each) for each in top.optional_sections("model"))
    return Predict(models, read_endpoints(top), read_serve(top), read_renewals(top), read_sagemaker(top))


def sagemaker_faults(predict: Predict, in_s3: bool) -> list[str]:
    """What engine = "sagemaker" needs of other parts. ``in_s3``: the lake is."""
    there = predict.sagemaker
    if not predict.on_sagemaker:
        return [] if there is None else ['sagemaker: has no effect without a part that has engine = "sagemaker"']
    faults = [] if in_s3 else ["lake.folder: must be s3://BUCKET/PREFIX: SageMaker reads and writes there"]
    if there is None:
        return [*faults, 'sagemaker: the section is missing, and a part has engine = "sagemaker"']
    own = any(rule.hosting for rule in predict.endpoints) or any(
        rule.training and rule.learner != LINEAR_LEARNER for rule in predict.models
    )
    if own and not there.image:
        faults.append("sagemaker.image: is missing: whimbrel's container")
    return [*faults, *_refused_together(predict, there)]


def _refused_together(predict: Predict, there: SageMaker) -> Iterator[str]:
    """What SageMaker refuses of parts that are each possible."""
    for endpoint in predict.endpoints:
        if endpoint.hosting and endpoint.hosting.serverless_mb and there.subnets:
            yield f"endpoint {endpoint.name}: serverless_mb: is not possible with sagemaker.subnets"
    for model in predict.models:
        if model.training and model.learner != LINEAR_LEARNER:
            for key, value in model.settings().items():
                if len(json.dumps(value)) > MOST_TEXT:
                    said = f"is longer than the {MOST_TEXT:,} characters in which SageMaker hands a setting to a job"
                    yield f"model {model.name}: {key}: {said}"


def read_model(section: Section) -> ModelRule:
    """One ``[[model]]``; what is wrong goes to the section's faults."""
    name = section.folder_name("name")
    time = section.string("time", "")
    default = ModelRule("", "", "")
    engine = section.one_of("engine", ENGINES)
    learner = section.one_of("learner", (*LEARNERS, *((LINEAR_LEARNER,) if engine == "sagemaker" else ())))
    rule = ModelRule(
        name=name,
        dataset=section.string("dataset", name),
        target=section.required("target"),
        learner=learner,
        kind=section.one_of("kind", KINDS),
        positive=section.string("positive", default.positive),
        exclude=tuple(section.strings("exclude")),
        types=section.string_map("types", allowed=("number", "category", "date")),
        split=section.one_of("split", ("time", "stratified") if time else ("stratified", "time")),
        time=time,
        holdout=section.number("holdout", default.holdout),
        seed=section.integer("seed", default.seed),
        balance=section.one_of("balance", ("none", "balanced")),
        calibration=section.one_of("calibration", ("sigmoid", "isotonic", "none")),
        threshold=_read_threshold(section.section("threshold")),
        refit=section.flag("refit", default.refit),
        training=read_training(section, engine, learner),
    )
    if rule.refit and learner == LINEAR_LEARNER:
        section.fault("refit", f'is not possible with learner = "{LINEAR_LEARNER}": it would be a second job')
    if not rule.holdout < 1:
        section.fault("holdout", f"must be a share below 1, not {rule.holdout}")
    if time and rule.split != "time":
        section.fault("split", f"must be 'time' where a time attribute is named, not {rule.split!r}")
    section.finish()
    return rule


def _read_threshold(section: Section) -> ThresholdRule:
    default = ThresholdRule()
    rule = ThresholdRule(
        criterion=section.one_of("criterion", CRITERIA),
        beta=section.number("beta", default.beta),
        recall=section.number("recall", default.recall),
        precision=section.number("precision", default.precision),
        false_positive=section.number("false_positive", default.false_positive),
        false_negative=section.number("false_negative", default.false_negative),
        value=section.number("value", default.value),
    )
    for key in ("recall", "precision", "value"):
        if getattr(rule, key) > 1:
            section.fault(key, f"must be between 0 and 1, not {getattr(rule, key)}")
    section.finish()
    return rule
