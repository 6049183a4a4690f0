"""Trying settings of a learner on folds, in parallel threads, and keeping the one with the least loss."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple, TypeVar

import numpy as np

from whimbrel.prediction.train.feature_columns import Array

Item = TypeVar("Item")
Made = TypeVar("Made")


class Choice(NamedTuple):
    """``margins``: the sums of the rows that the folds judge, by fits that had not seen them. ``tried``: for people."""

    setting: dict[str, Any]
    margins: Array
    tried: list[dict[str, Any]]


def in_parallel(function: Callable[[Item], Made], items: Iterable[Item]) -> list[Made]:
    """``function`` of each item, in order; a thread for each core, and one core for each thread."""
    from threadpoolctl import threadpool_limits

    def alone(item: Item) -> Made:
        with threadpool_limits(1):
            return function(item)

    # The outer limit is what a library's threads go back to when the last of ours has ended.
    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return list(pool.map(alone, items))


def loss(kind: str, margins: Array, target: Array, weights: Array | None) -> float:
    """The mean log-loss of the sums as they are, or the mean square of the error."""
    if kind == "regression":
        each = (margins[:, 0] - target) ** 2
    elif kind == "binary":
        each = np.logaddexp(0, np.where(target == 1, -1, 1) * margins[:, 0])
    else:
        top = margins.max(1, keepdims=True)
        each = np.log(np.exp(margins - top).sum(1)) + top[:, 0] - margins[np.arange(len(target)), target]
    return float(np.average(each, weights=weights))


def class_weights(target: Array, kind: str, balance: str) -> Array | None:
    """For ``balanced``, weights that give every class the same say."""
    if balance == "none" or kind == "regression":
        return None
    counts = np.bincount(target)
    weights: Array = (len(target) / (len(counts) * np.maximum(counts, 1)))[target]
    return weights
