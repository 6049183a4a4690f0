"""The model file is data: what is not whole is refused, and nothing in it can become code."""

from __future__ import annotations

import ast
import copy
import gzip
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.conftest import without_coverage
from tests.prediction.train.tables import ROOT, calls, rule
from whimbrel.errors import ModelDamaged, UserError
from whimbrel.prediction.model import artifact
from whimbrel.prediction.model import model as model_module
from whimbrel.prediction.model.model import Model, digest, load_model, read_model, save_model
from whimbrel.prediction.train.train import model_path, train

ROW = [30, 1.0, "cook", True]


@pytest.fixture(scope="module", params=["linear", "boosted"])
def model_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    made = train(rule(learner=request.param), calls(600), manifest_id="m", as_of="2026-11-01T00:00:00Z", folder=folder)
    return model_path(folder, made.version)


def test_a_model_comes_back_whole(model_file: Path, tmp_path: Path) -> None:
    model = load_model(model_file)
    for name in ("again.json", "again.json.gz"):
        save_model(model, tmp_path / name)
        again = load_model(tmp_path / name)
        assert again == model
        assert again.digest == model.digest == digest(again.as_dict())
        assert again.predict([ROW]) == model.predict([ROW])
    assert (tmp_path / "again.json").read_bytes() == model_file.read_bytes()
    assert (tmp_path / "again.json.gz").read_bytes()[:2] == b"\x1f\x8b"


def test_the_file_states_what_it_is(model_file: Path) -> None:
    document = orjson.loads(model_file.read_bytes())
    assert document["format"] == "whimbrel-model/1"
    assert [(each["name"], each["type"]) for each in document["inputs"]] == [
        ("age", "number"),
        ("rate", "number"),
        ("job", "category"),
        ("contact", "category"),
    ]
    assert document["trained_on"] == {"manifest": "m", "as_of": "2026-11-01T00:00:00Z"}
    assert document["metrics"]["values"]["auc"] > 0.7
    assert document["digest"].startswith("sha256:")


def test_every_changed_byte_is_refused(model_file: Path, tmp_path: Path) -> None:
    data = model_file.read_bytes()
    for place in range(10, len(data) - 2, max(1, len(data) // 300)):
        changed = data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]
        try:
            read = orjson.loads(changed)
        except orjson.JSONDecodeError:
            read = None
        if read != orjson.loads(data):
            with pytest.raises(ModelDamaged):
                read_model(changed)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\x80\x04\x95", b"\x1f\x8bxx", b'{"format": "other/1"}', b"null"])
def test_what_is_no_model_is_refused(data: bytes) -> None:
    with pytest.raises(ModelDamaged):
        read_model(data)


def test_a_cut_file_and_a_missing_one(model_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelDamaged):
        read_model(model_file.read_bytes()[:-100])
    with pytest.raises(ModelDamaged):
        read_model(gzip.compress(model_file.read_bytes())[:-20])
    with pytest.raises(ModelDamaged, match="cannot be read"):
        load_model(tmp_path / "none.json")


def forged(document: dict[str, Any], change: Callable[[dict[str, Any]], None]) -> bytes:
    """A file with a digest that fits: whoever can write the file can make one."""
    changed = copy.deepcopy(document)
    change(changed)
    changed.pop("digest")
    return orjson.dumps(changed | {"digest": digest(changed)})


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no inputs": lambda d: d.update(inputs=[]),
    "an input of another type": lambda d: d["inputs"][0].update(type="code"),
    "code for a bound": lambda d: d["inputs"][0].update(low="__import__('os').system('id')"),
    "an edge that is not a number": lambda d: d["inputs"][0].update(edges=["1"]),
    "edges that fall": lambda d: d["inputs"][0].update(edges=[2, 1]),
    "too few shares": lambda d: d["inputs"][2].update(shares=[1.0]),
    "two inputs of a name": lambda d: d["inputs"][1].update(name="age"),
    "another learner": lambda d: d.update(learner="pickle"),
    "another kind": lambda d: d.update(kind="regression"),
    "no labels": lambda d: d.update(labels=[]),
    "a threshold that is not a number": lambda d: d.update(threshold="0"),
    "another calibration": lambda d: d.update(calibration={"method": "code"}),
    "uneven calibration": lambda d: d.update(calibration={"method": "isotonic", "margins": [1], "scores": []}),
    "no parameters": lambda d: d.update(parameters={}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_forged_file_that_does_not_fit_together_is_refused(name: str, model_file: Path) -> None:
    with pytest.raises(ModelDamaged, match="is inconsistent"):
        read_model(forged(orjson.loads(model_file.read_bytes()), CHANGES[name]))


def test_a_tree_that_never_ends_is_refused(model_file: Path) -> None:
    document = orjson.loads(model_file.read_bytes())
    if document["learner"] != "boosted":
        document["parameters"]["intercept"] = [1, 2]
        with pytest.raises(ModelDamaged):
            read_model(forged(document, lambda _: None))
        return
    tree = document["parameters"]["trees"][0]
    for key, value in (("left", 0), ("right", 10**6), ("feature", 99), ("threshold", None), ("value", "1")):
        broken = copy.deepcopy(document)
        broken["parameters"]["trees"][0][key] = [value, *tree[key][1:]] if key != "value" else [value] * len(tree[key])
        with pytest.raises(ModelDamaged):
            read_model(forged(broken, lambda _: None))


def test_names_and_categories_never_become_code(model_file: Path, tmp_path: Path) -> None:
    model = load_model(model_file)
    evil = f"x')\n__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch()\n#"
    inputs = tuple(replace(each, name=f"{each.name}{evil}") for each in model.inputs)
    job = replace(inputs[2], categories=(evil, *inputs[2].categories[1:]))
    forged_model = replace(model, inputs=(*inputs[:2], job, inputs[3]), labels=(evil, "b"), target=evil, digest="")
    save_model(forged_model, tmp_path / "model.json")
    assert len(load_model(tmp_path / "model.json").predict([[1, 2, evil, True]])) == 1
    assert not (tmp_path / "ran").exists()


def test_the_request_path_needs_no_learner(model_file: Path) -> None:
    code = f"""
import sys
from pathlib import Path
from whimbrel.prediction.model.model import load_model
from whimbrel.prediction.model.drift import drift
model = load_model(Path({str(model_file)!r}))
model.predict([[30, 1.0, "cook", True]])
drift(model, [[30, 1.0, "cook", True]])
heavy = {{"numpy", "pandas", "sklearn", "scipy", "pyarrow", "pickle", "joblib", "lightgbm"}} & set(sys.modules)
sys.exit(", ".join(sorted(heavy)) or 0)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=without_coverage())
    assert (done.returncode, done.stderr) == (0, "")


def test_nothing_of_ours_imports_pickle_or_pandas() -> None:
    never = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "pandas"}
    found = set()
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [each.name for each in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found |= {(path.name, name) for name in names if name.partition(".")[0] in never}
    # Between a process and its own child, through pipes that nobody else has.
    assert found == {("workers.py", "pickle")}


def test_models_are_equal_by_what_they_state(model_file: Path) -> None:
    model = load_model(model_file)
    assert isinstance(model, Model)
    assert replace(model, threshold=0.9, digest="").digest != model.digest


def packed_header(size: int) -> bytes:
    """An archive whose first member is an extended header of ``size`` bytes, which tarfile reads whole."""
    head = tarfile.TarInfo("x")
    head.type, head.size = tarfile.XHDTYPE, size
    return gzip.compress(head.tobuf() + b"0" * size, 1)


ARCHIVES = {
    "nothing": b"",
    "no gzip": b"x" * 2000,
    "cut off": gzip.compress(b"x" * 5000)[:-12],
    "a flipped bit": gzip.compress(os.urandom(5000))[:3000] + b"\0" * 40,
    "no archive": gzip.compress(b"x" * 5000),
    "a large header": packed_header(2 << 20),
}


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=ARCHIVES)
def test_an_archive_that_is_no_model_is_a_users_mistake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archive: bytes
) -> None:
    monkeypatch.setattr(artifact, "LARGEST", 1 << 20)
    path = tmp_path / "model.tar.gz"
    path.write_bytes(archive)
    with pytest.raises(UserError), artifact.model_in(path):
        pass


def test_a_file_larger_than_a_model_may_be_is_not_read_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_module, "LARGEST", 1 << 20)
    with pytest.raises(ModelDamaged, match="larger than a model may be"):
        load_model(Path("/dev/zero"))
