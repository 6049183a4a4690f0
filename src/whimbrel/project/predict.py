"""The ``[[model]]`` and ``[[endpoint]]`` parts of the project file: training, serving, renewing."""

from __future__ import annotations

from dataclasses import dataclass, field

from whimbrel.project.endpoint import EndpointRule, Serve, read_endpoints, read_serve
from whimbrel.project.renew import RenewalRule, read_renewals
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
    learner: str = "linear"  # linear | boosted
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

    @property
    def categories(self) -> list[str]:
        """The columns that are said to be categories."""
        return [name for name, kind in self.types.items() if kind == "category"]


@dataclass(frozen=True, slots=True)
class Predict:
    models: tuple[ModelRule, ...] = ()
    endpoints: tuple[EndpointRule, ...] = ()
    serve: Serve = field(default_factory=Serve)
    renewals: tuple[RenewalRule, ...] = ()


def read_predict(top: Section) -> Predict:
    """Read these parts; what is wrong goes to the section's faults."""
    models = tuple(read_model(each) for each in top.optional_sections("model"))
    return Predict(models, read_endpoints(top), read_serve(top), read_renewals(top))


def read_model(section: Section) -> ModelRule:
    """One ``[[model]]``; what is wrong goes to the section's faults."""
    name = section.required("name")
    time = section.string("time", "")
    default = ModelRule("", "", "")
    rule = ModelRule(
        name=name,
        dataset=section.string("dataset", name),
        target=section.required("target"),
        learner=section.one_of("learner", LEARNERS),
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
    )
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
