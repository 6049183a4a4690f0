"""The ``[[renewal]]`` part of the project file: when a model is renewed, and when the new one may take its place."""

from __future__ import annotations

import re
from dataclasses import dataclass

from whimbrel.errors import ProjectError
from whimbrel.project.section import Section

STEPS = ("export", "convert", "train", "gate", "update")
# By kind of model; each says with its sign whether more is better.
METRICS = ("log_loss", "auc", "average_precision", "brier", "f1", "accuracy", "macro_f1", "rmse", "mae", "r2")

# The fields of a cron expression: the least and the most of their numbers, and their words.
_CRON = (
    ("minute", 0, 59, ""),
    ("hour", 0, 23, ""),
    ("day of the month", 1, 31, ""),
    ("month", 1, 12, "jan feb mar apr may jun jul aug sep oct nov dec"),
    ("weekday", 1, 0, "sun mon tue wed thu fri sat"),
)


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


def cron_error(rule: RenewalRule, reason: str) -> ProjectError:
    return ProjectError(
        f"{rule.cron!r} is not a valid schedule: {reason}",
        place=f"renewal {rule.model}: cron",
        hint="Write five fields, as in 0 3 * * mon-fri for three in the morning, UTC.",
    )


def cron_fault(expression: str) -> str:
    """Why APScheduler, cron and EventBridge would not all read an expression alike, "" where they do. Their numbers of
    weekdays differ. Of a day of the month and a weekday, cron wants one to fit, APScheduler both, and EventBridge takes
    only one.
    """
    fields = expression.split()
    if len(fields) != len(_CRON):
        return f"it has {len(fields)} fields, expected {len(_CRON)}"
    if any(character.isdigit() for character in fields[4].partition("/")[0]):
        return "name the days of the week (sun, mon, …)"
    if fields[2] != "*" and fields[4] != "*":
        return "a day of the month and a day of the week cannot be combined"
    for field, (name, least, most, words) in zip(fields, _CRON, strict=True):
        for part in re.split("[,/-]", field):
            is_number = re.fullmatch(r"[0-9]{1,2}", part) and least <= int(part) <= most
            if not (part == "*" or part.lower() in words.split() or is_number):
                return f"{part!r} cannot be the {name}"
    return ""
