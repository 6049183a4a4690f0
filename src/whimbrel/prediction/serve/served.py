"""One loaded model that answers calls, and what it must show before it may.

A call is answered by one Served from its first byte to its last, so that no answer is a mixture of two models.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from whimbrel.errors import RowError, UserError
from whimbrel.prediction.model.features import CATEGORY, Input, shown
from whimbrel.prediction.model.model import Model, Prediction
from whimbrel.prediction.model.unknown import Found, UnknownValues
from whimbrel.prediction.serve.bodies import BodyError, Row, rows_of
from whimbrel.prediction.serve.outputs import accepted, classes_header, part, whole

SMALL_BODY = 16 * 1024  # a larger body is answered in steps, between which other calls have their turn
ROWS_A_STEP = 100
WARM_ROUNDS = 30
SAMPLES = 2_000  # rows kept for the drift of the inputs


Loader = Callable[[Path], Model]


class Call(NamedTuple):
    """One request for predictions, unchanged."""

    body: bytes
    content_type: str
    accept: str
    refuse_unknown: bool = False  # whether a category that training never saw is the caller's mistake


class Answer(NamedTuple):
    """``status`` is the container's: 200, 4xx for the caller's mistake, 500 for the model's."""

    status: int
    body: bytes  # the error's message, if it is one
    content_type: str
    rows: int = 0
    unknown: UnknownValues | None = None  # the categories that training never saw, where there were any


class Served:
    """A model in memory with what is known of its inputs. Thread-safe as far as the model's ``predict`` is."""

    def __init__(self, name: str, model: Model) -> None:
        self.name = name
        self.model = model
        self.version = model.version
        self.names = model.columns
        self.samples: deque[Row] = deque(maxlen=SAMPLES)
        # Of every answer: what made it, in which order it has its scores, and as of when its data was.
        self.headers = f"x-whimbrel-model-version: {_word(self.version)}\r\n{classes_header(model.labels)}"
        self.headers += f"x-whimbrel-as-of: {_word(model.as_of)}\r\n"
        if model.position:
            self.headers += f"x-whimbrel-position: {_word(model.position)}\r\n"

    def answer(self, call: Call) -> Answer:
        """Answer at once; never raises."""
        answer = None
        for answer in self.steps(call, 1_000_000):  # noqa: B007 - the last one counts
            pass
        assert answer
        return answer

    def steps(self, call: Call, rows_a_step: int = ROWS_A_STEP) -> Iterator[Answer | None]:
        """Gives None after each step of the work, then the answer. Never raises."""
        parts: list[bytes] = []
        count = 0
        found: list[Found] = []
        unknown: UnknownValues | None = None
        try:
            kind = accepted(call.accept, call.content_type)
            for rows in rows_of(call.body, call.content_type, self.names, rows_a_step):
                parts.append(part(self._predict(rows, count, found), kind))
                self.samples.append(rows[0])
                if found:
                    unknown = unknown or UnknownValues()
                    unknown.add(found)
                    if call.refuse_unknown:
                        yield Answer(400, self._refusal(rows, count), "text/plain", 0, unknown)
                        return
                    found.clear()
                count += len(rows)
                if len(rows) == rows_a_step:
                    yield None
            yield Answer(200, whole(parts, kind), kind, count, unknown)
        except BodyError as error:
            yield Answer(error.status, error.message.encode(), "text/plain")
        except RowError as error:
            yield Answer(400, str(error).encode(), "text/plain")
        except RecursionError:
            yield Answer(400, b"the body has lists or objects nested too deeply", "text/plain")
        except Exception as error:  # whatever a model does, its caller gets an answer
            yield Answer(500, f"the model failed: {type(error).__name__}: {error}".encode(), "text/plain")

    def _refusal(self, rows: list[Row], before: int) -> bytes:
        """Names the first category of these rows that training never saw."""
        for number, row in enumerate(rows, before + 1):
            found: list[Found] = []
            self.model.predict([row], found)
            for column, value in found:
                return str(
                    RowError(
                        f"column {column!r} has the category {shown(value)}, which training never saw",
                        column=column,
                        place=f"row {number}",
                        hint="/status lists the known ones; an empty value counts as missing.",
                    )
                ).encode()
        raise AssertionError("one of the rows has an unknown category")

    def _predict(self, rows: list[Row], before: int, unknown: list[Found]) -> Sequence[Prediction]:
        try:
            return self.model.predict(rows, unknown)
        except RowError as error:
            # The model counts from 0 in what it was given; people count a body's rows from 1.
            number = int(error.place.rpartition(" ")[2]) + before + 1
            raise RowError(error.message, column=error.column, place=f"row {number}", hint=error.hint) from None


def _word(text: str) -> str:
    """What a file says, as it may be in a header."""
    return "".join(each if " " < each <= "~" else "?" for each in text)


def load(name: str, path: Path, loader: Loader, recent: Iterable[Call]) -> Served:
    """Load a model, warm it and check it: only then may it take traffic. Runs beside the event loop.

    Raises WhimbrelError: the file is damaged, an answer is not a number, or one of the ``recent`` calls, which the
    model in service answered, is refused.
    """
    served = Served(name, loader(path))
    made_up = _made_up_rows(served.model.inputs)
    for _ in range(WARM_ROUNDS):
        _check(served, served.model.predict(made_up), path)
    for call in recent:
        answer = served.answer(call)
        if answer.status != 200:
            raise UserError(
                f"refuses a call that the model in service answered: {answer.body.decode()[:300]}",
                place=f"model {name}",
                hint="Its inputs differ; give it its own endpoint, or change the callers first.",
            )
        time.sleep(0)
    served.samples.clear()
    return served


def _check(served: Served, predictions: Sequence[Prediction], path: Path) -> None:
    for each in predictions:
        scores = each.score if isinstance(each.score, (list, tuple)) else [each.score]
        if not scores or not all(isinstance(score, (int, float)) and math.isfinite(score) for score in scores):
            raise UserError(
                f"answers {str(each.score)[:80]} instead of a finite number",
                place=f"model {served.name} ({path.name})",
                hint="Train it again.",
            )


def _made_up_rows(inputs: Sequence[Input]) -> list[Row]:
    """A typical row, one of only missing values, and one at each end of the inputs' ranges."""
    columns = {each.column: each for each in inputs}.values()
    return [
        [each.categories[0] if each.type == CATEGORY and each.categories else _typical(each) for each in columns],
        [None] * len(columns),
        [_end(each, each.low, 0) for each in columns],
        [_end(each, each.high, -1) for each in columns],
    ]


def _typical(each: Input) -> Any:
    if each.part:
        return "2026-01-31T12:00:00Z"
    return "" if each.type == CATEGORY else each.mean


def _end(each: Input, number: float, place: int) -> Any:
    if each.type == CATEGORY:
        return each.categories[place] if each.categories else ""
    return _typical(each) if each.part else number
