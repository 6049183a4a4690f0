"""The ``[[renewal]]`` part of the project file: when a model is renewed, and when the new one may take its place."""

from __future__ import annotations

from dataclasses import dataclass

from whimbrel.project.section import Section

STEPS = ("export", "convert", "train", "gate", "update")
# By kind of model; each says with its sign whether more is better.
METRICS = ("log_loss", "auc", "average_precision", "brier", "f1", "accuracy", "macro_f1", "rmse", "mae", "r2")


@dataclass(frozen=True, slots=True)
class RenewalRule:
    """``model`` behind ``endpoint``, renewed by ``cron``.

    The new model must be at least as good as the present one by every metric of ``metrics`` (none: those of its kind),
    within ``tolerance``, on the same hold-out. After a failure the next try waits ``back_off`` seconds, twice as
    long after each further one, up to a day. A renewal that was due while the scheduler was down is made up for once.
    """

    model: str
    endpoint: str
    cron: str = "0 3 * * *"
    metrics: tuple[str, ...] = ()
    tolerance: float = 0.0
    back_off: float = 300.0


def read_renewals(top: Section) -> tuple[RenewalRule, ...]:
    """Every [[renewal]]; what is wrong goes to the section's faults."""
    rules = tuple(_read(each) for each in top.optional_sections("renewal"))
    models = [rule.model for rule in rules]
    for model in sorted({model for model in models if models.count(model) > 1}):
        top.fault("renewal", f"the model {model!r} is used in more than one [[renewal]]")
    return rules


def _read(section: Section) -> RenewalRule:
    model = section.required("model")
    default = RenewalRule("", "")
    rule = RenewalRule(
        model=model,
        endpoint=section.string("endpoint", model),
        cron=section.string("cron", default.cron),
        metrics=tuple(section.strings("metrics")),
        tolerance=section.number("tolerance", default.tolerance),
        back_off=section.number("back_off", default.back_off),
    )
    for metric in rule.metrics:
        if metric not in METRICS:
            section.fault("metrics", f"has {metric!r}, which is not one of {', '.join(METRICS)}")
    section.finish()
    return rule
