"""Which rows are held out, and which folds a learner is chosen on. Over time, the past never learns from the future."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from whimbrel.errors import TrainingError
from whimbrel.prediction.train.feature_columns import Array
from whimbrel.project.predict import ModelRule

FOLDS = 3
SEARCHED_ROWS = 100_000
LEAST_OF_A_CLASS = 1_000


class Split(NamedTuple):
    """Row numbers: those to fit on, in order of time where time is named, and those held out."""

    fit: Array
    held: Array


def split(rule: ModelRule, table: pa.Table) -> Split:
    """The split that ``train`` makes of ``table``: the same rows every time. Raises TrainingError."""
    labelled = labelled_rows(rule, table)
    if rule.split == "time":
        rows = _by_time(rule, table, labelled)
        first = len(rows) - round(len(rows) * rule.holdout)
        return Split(rows[:first], rows[first:])
    if not rule.holdout:
        return Split(labelled, labelled[:0])
    from sklearn.model_selection import train_test_split

    target = pc.dictionary_encode(table[rule.target].combine_chunks()).indices.to_numpy(zero_copy_only=False)[labelled]
    fewest = np.bincount(target.astype(np.int64)).min() if len(target) else 0
    classes = target if fewest >= 2 and len(np.unique(target)) < len(target) / 10 else None
    fit, held = train_test_split(labelled, test_size=rule.holdout, stratify=classes, random_state=rule.seed)
    return Split(fit, held)


def labelled_rows(rule: ModelRule, table: pa.Table, least: int = 20) -> Array:
    """The rows that have an outcome; the others wait for theirs."""
    if rule.target not in table.column_names:
        raise TrainingError(
            f"the target {rule.target!r} is not a column of the data set",
            place=f"model {rule.name}",
            hint=f"It has {', '.join(table.column_names)}.",
        )
    target = table[rule.target]
    known = pc.is_valid(target)
    if pa.types.is_string(target.type) or pa.types.is_large_string(target.type):
        known = pc.and_(known, pc.not_equal(pc.fill_null(target, ""), ""))
    rows = np.flatnonzero(known.to_numpy())
    if len(rows) < least:
        raise TrainingError(
            f"{len(rows)} rows have a {rule.target!r}, which is too few",
            place=f"model {rule.name}",
            hint="Give the target's name as it stands in the data set, or wait until more outcomes are known.",
        )
    return rows


def searched(target: Array, classes: int, rule: ModelRule) -> tuple[slice, list[Split]]:
    """The rows to choose on, and their folds: of a large table one row in so many, in order, as a setting that is best
    for SEARCHED_ROWS is so for more. ``target`` is of ``classes``, 0 for numbers. Without folds if not even all rows
    have every class in each of them.
    """
    for step in sorted({max(1, len(target) // SEARCHED_ROWS), 1}, reverse=True):
        some = slice(None, None, step) if step > 1 else slice(None)
        found = target[some]
        parts = folds(len(found), rule, found if classes else None)
        if not classes or all(np.bincount(found[part.fit], minlength=classes).min() >= _least(step) for part in parts):
            return some, parts
    return slice(None), []


def judged_once(target: Array, classes: int, rule: ModelRule) -> tuple[slice, list[Split]]:
    """As ``searched``, for a learner that is fitted once: all rows and one fold, over time the latest."""
    part = folds(len(target), rule, target if classes else None)[-1]
    both = [np.bincount(target[rows], minlength=classes).min() for rows in part] if classes else [1]
    return slice(None), [part] if min(both) else []


def _least(step: int) -> int:
    """Rows of the rarest class in each fold: of a part of the rows enough to choose by."""
    return LEAST_OF_A_CLASS if step > 1 else 1


def folds(rows: int, rule: ModelRule, labels: Array | None) -> list[Split]:
    """Folds over ``rows`` rows: each row judged once by the others, or, over time, later rows by earlier ones only."""
    if rule.split == "time":
        blocks = np.array_split(np.arange(rows), FOLDS + 1)
        return [Split(np.concatenate(blocks[: end + 1]), blocks[end + 1]) for end in range(FOLDS)]
    from sklearn.model_selection import KFold, StratifiedKFold

    if labels is not None and np.bincount(labels).min() >= FOLDS:
        parts = StratifiedKFold(FOLDS, shuffle=True, random_state=rule.seed).split(labels, labels)
    else:
        parts = KFold(FOLDS, shuffle=True, random_state=rule.seed).split(np.empty(rows))
    return [Split(fit, held) for fit, held in parts]


def judged(parts: Sequence[Split]) -> Array:
    """All rows that some fold judges, in the folds' order."""
    return np.concatenate([part.held for part in parts])


def _by_time(rule: ModelRule, table: pa.Table, rows: Array) -> Array:
    if not rule.time:
        return rows
    if rule.time not in table.column_names:
        raise TrainingError(
            f"the time attribute {rule.time!r} is not a column of the data set",
            place=f"model {rule.name}",
            hint=f"It has {', '.join(table.column_names)}.",
        )
    times = table[rule.time].take(pa.array(rows))
    if times.null_count:
        raise TrainingError(
            f"{times.null_count:,} rows have no {rule.time!r}, so they cannot be ordered in time",
            place=f"model {rule.name}",
            hint="Name an attribute that every row has, or split = 'stratified' without a time.",
        )
    order = pc.sort_indices(pa.table({"time": times}), sort_keys=[("time", "ascending")])
    found: Array = rows[order.to_numpy()]
    return found
