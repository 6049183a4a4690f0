"""Categories that training never saw: named in the answer, counted, or refused; and white space around a field."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from botocore.exceptions import ClientError

from tests.prediction.serve.conftest import Running, predictions, serve_command
from tests.prediction.serve.models import ROW, model, model_file
from tests.prediction.serve.test_recordio import DENSE
from whimbrel.prediction.model.features import CATEGORY, Input
from whimbrel.prediction.model.model import load_model, save_model

HEADER = "x-whimbrel-unknown-categories"
PROJECT = '[[endpoint]]\nname = "ServiceEndpoint"\nmodel = "bank"\nunknown = "{}"\n'
KNOWN = model().predict([[34, "admin.", 999, 1.5]])[0].score
OTHER = model().predict([[34, "ADMIN.", 999, 1.5]])[0].score

FORMS: dict[str, tuple[str, Callable[[str], str]]] = {
    "csv": ("text/csv", "34,{},999,1.5".format),
    "csv under a header": ("text/csv", "pdays,job,age,euribor3m\n999,{},34,1.5".format),
    "json": ("application/json", lambda job: json.dumps({"instances": [{"features": [34, job, 999, 1.5]}]})),
    "by name": (
        "application/json",
        lambda job: json.dumps({"instances": [{"age": 34, "job": job, "pdays": 999, "euribor3m": 1.5}]}),
    ),
    "sparse": (
        "application/json",
        lambda job: json.dumps(
            {"instances": [{"data": {"features": {"keys": [0, 1, 2, 3], "shape": [4], "values": [34, job, 999, 1.5]}}}]}
        ),
    ),
    "jsonlines": ("application/jsonlines", lambda job: json.dumps({"features": [34, job, 999, 1.5]})),
}


def headers(answer: Any) -> dict[str, str]:
    found: dict[str, str] = answer["ResponseMetadata"]["HTTPHeaders"]
    return found


@pytest.mark.parametrize(("content_type", "form"), FORMS.values(), ids=FORMS)
def test_an_unknown_category_is_named_in_every_form_of_a_body(
    server: Running, content_type: str, form: Callable[[str], str]
) -> None:
    known = server.invoke(form("admin."), content_type, Accept="application/json")
    assert predictions(known)[0]["score"] == KNOWN
    assert HEADER not in headers(known)
    unknown = server.invoke(form("ADMIN."), content_type, Accept="application/json")
    assert predictions(unknown)[0]["score"] == OTHER != KNOWN
    assert headers(unknown)[HEADER] == "1; job=ADMIN."


@pytest.mark.parametrize(("content_type", "form"), FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("job", [" admin.", "admin. ", "\tadmin.\t", "  admin.  "])
def test_white_space_around_a_category_is_no_part_of_it(
    server: Running, content_type: str, form: Callable[[str], str], job: str
) -> None:
    answer = server.invoke(form(job), content_type, Accept="application/json")
    assert predictions(answer)[0]["score"] == KNOWN
    assert HEADER not in headers(answer)


def test_white_space_around_every_field_of_csv_is_ignored(server: Running) -> None:
    spaced = [
        " 34 ,\tretired , 999,1.5 ",
        " age, job ,pdays ,\teuribor3m\n34,retired,999,1.5\n",
        '"34 "," retired",999,1.5',
    ]
    wanted = predictions(server.invoke(ROW))
    assert [predictions(server.invoke(each)) for each in spaced] == [wanted] * 3
    assert predictions(server.invoke(" ,  ,\t,")) == predictions(server.invoke(",,,"))


def test_an_unknown_number_of_recordio_is_named_too(server: Running) -> None:
    answer = server.invoke(DENSE, "application/x-recordio-protobuf")
    assert headers(answer)[HEADER] == "1; job=2"


def test_the_header_counts_all_names_some_and_has_safe_characters_only(server: Running) -> None:
    jobs = [f"bösé job\r\nx: {number:04}" + "y" * 200 for number in range(3_000)]
    body = json.dumps({"instances": [{"features": [34, job, 999, 1.5]} for job in jobs]})
    line = headers(server.invoke(body, "application/json"))[HEADER]
    assert line.startswith("3000; job=b%C3%B6s%C3%A9 job%0D%0Ax%3A ")
    assert line.endswith("; ...")
    assert len(line) <= 1_000
    assert line.isascii()
    assert line.isprintable()


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that counts, for this module alone."""
    yield from serving(tmp_path_factory.mktemp("counting"), "count")


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server whose endpoint refuses unknown categories."""
    yield from serving(tmp_path_factory.mktemp("strict"), "refuse")


def serving(folder: Path, unknown: str) -> Iterator[Running]:
    running = Running(serve_command(folder, PROJECT.format(unknown), "--model", str(model_file(folder))), folder)
    yield running
    assert running.stop() == 0


def test_unknown_categories_are_counted_by_column(other: Running) -> None:
    other.invoke(f"{ROW}\n34,ADMIN.,999,1.5\n35,boss,999,1.5\n36,boss,999,1.5")
    other.invoke("34,x,999,1.5\n" * 3_000)
    with urlopen(f"{other.url}/status") as answer:
        [variant] = json.load(answer)["endpoints"][0]["variants"]
    assert variant["unknown"] == [{"column": "job", "count": 3_003, "values": ["ADMIN.", "boss", "x"]}]
    [line] = [
        line
        for line in urlopen(f"{other.url}/metrics").read().decode().splitlines()
        if line.startswith("whimbrel_unknown_categories_total{")
    ]
    assert 'column="job"' in line
    assert line.endswith(" 3003")


@pytest.mark.parametrize(("content_type", "form"), FORMS.values(), ids=FORMS)
def test_an_endpoint_may_refuse_them_by_name(strict: Running, content_type: str, form: Callable[[str], str]) -> None:
    assert predictions(strict.invoke(form(" admin."), content_type, Accept="application/json"))[0]["score"] == KNOWN
    with pytest.raises(ClientError) as caught:
        strict.invoke(form("ADMIN."), content_type)
    response: Any = caught.value.response
    assert response["OriginalStatusCode"] == 400
    assert "row 1: column 'job' has the category 'ADMIN.', which training never saw" in response["OriginalMessage"]
    assert headers(response)[HEADER] == "1; job=ADMIN."


@pytest.mark.parametrize("before", [3, 3_000])
def test_the_row_that_is_refused_is_the_right_one(strict: Running, before: int) -> None:
    with pytest.raises(ClientError, match=rf"row {before + 1}: column 'job' has the category 'boss'"):
        strict.invoke(f"{ROW}\n" * before + "34,boss,999,1.5\n" + f"{ROW}\n" * 10)


def test_a_file_of_rows_is_told_of_them_on_standard_error(tmp_path: Path) -> None:
    file = model_file(tmp_path)
    for unknown, code in (("count", 0), ("refuse", 2)):
        (tmp_path / "whimbrel.toml").write_text(PROJECT.format(unknown))
        words = ["predict", "--model", str(file), "--endpoint", "ServiceEndpoint", "34,ADMIN.,999,1.5"]
        done = subprocess.run(
            [sys.executable, "-m", "whimbrel", *words], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "ADMIN." in done.stderr
        assert ("predictions" in done.stdout) == (code == 0)


def test_a_rare_category_of_training_is_not_unknown(tmp_path: Path) -> None:
    made = model()
    known = tuple(
        Input(each.name, CATEGORY, categories=each.categories, shares=each.shares, rare=("unemployed",))
        if each.name == "job"
        else each
        for each in made.inputs
    )
    object.__setattr__(made, "inputs", known)
    save_model(made, tmp_path / "m.json")
    found: list[tuple[str, str]] = []
    answers = load_model(tmp_path / "m.json").predict([[34, "unemployed ", 999, 1.5], [34, "boss", 999, 1.5]], found)
    assert answers[0].score == answers[1].score == OTHER
    assert found == [("job", "boss")]
