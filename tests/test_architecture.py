"""The shape of the code: who imports whom, how long files and functions may be, the tree of errors, forbidden names."""

from __future__ import annotations

import ast
import os
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from importlib import import_module
from pathlib import Path
from types import FunctionType, ModuleType

import pytest

from whimbrel import errors

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "whimbrel"
PAGE = ROOT / "docs" / "architecture.md"
ANYTHING = {"*"}
WHAT_IS_KEPT = {"records", "errors", "durable", "project", "dynamodb", "bucket", "threads", "checkpoint"}

# A part is a module or a folder directly under whimbrel/. What it may import of whimbrel, besides itself, always from
# above it in this list:
MAY_IMPORT: dict[str, set[str]] = {
    # the nouns and what everything may stand on
    "records": set(),
    "errors": set(),
    "file_name": set(),
    "private": set(),
    "memory": {"errors"},
    "threads": set(),
    "workers": {"errors", "memory", "threads"},
    "notes": set(),
    "project": {"errors", "private"},
    "durable": {"errors"},
    "item": {"records"},
    "nested": {"records", "item"},
    # pure: from rows and changes to operations on items
    "mapping": {"records", "errors", "project", "item", "nested"},
    "dms": {"records", "errors", "project", "mapping"},
    # what is kept on disk
    "changelog": {"records", "errors", "durable"},
    "snapshot_files": {"records", "errors", "durable"},
    "spill": {"errors", "durable"},
    "checkpoint": {"records", "errors", "durable", "changelog"},
    "handed_over": {"records", "errors", "durable"},
    # the two sides, which do not know each other
    "mysql": {"records", "errors", "private", "project", "durable", "snapshot_files", "memory", "threads"},
    "dynamodb": {"records", "errors", "project", "item", "nested", "memory", "threads"},
    "patience": {"errors", "notes", "dynamodb"},
    "bucket": {"errors", "project", "dynamodb", "patience"},
    # between the change log and the target, where a function applies it
    "kinesis": {"records", "errors", "durable", "project", "item", "changelog", "dynamodb", "patience", "bucket"},
    # only these bring the parts together
    "migration": ANYTHING,
    "function": {"records", "errors", "memory", "project", "mapping", "dynamodb", "bucket", "kinesis", "migration"},
    "lake": {*WHAT_IS_KEPT, "item", "memory", "patience", "spill", "workers", "handed_over"},
    "prediction": {*WHAT_IS_KEPT, "notes", "private", "lake"},
    "warehouse": ANYTHING,
    "aws": {"durable", "dynamodb", "errors", "function", "kinesis", "mapping", "project", "migration"},
    "checks": ANYTHING,
    "handover": ANYTHING,
    "setup": {"records", "errors", "notes", "project", "mysql", "mapping", "dms", "item", "migration"},
    "proposal": {"records", "errors", "project", "mysql", "mapping", "dms", "item", "checks", "lake", "setup"},
    "api": ANYTHING,
    "ui": ANYTHING,
    "console": {"api", "errors", "handed_over", "memory", "migration", "prediction", "project", "threads"},
    "cli": ANYTHING,
    "__init__": {"api", "errors", "project"},
    "__main__": {"cli", "memory"},
}

# The folders and modules of prediction/: which of the others each may import.
PREDICTION: dict[str, set[str]] = {
    "model": set(),
    "train": {"model"},
    "serve": {"model"},
    "sagemaker": {"model", "train", "serve"},
    "aws": {"model", "train", "serve"},
    "engines": {"train", "serve", "aws"},
    "renew": {"model", "train", "serve", "aws", "engines"},
    "server": {"serve", "sagemaker"},
    "__init__": set(),
}

MOST_LINES, MOST_LINES_OF_A_FUNCTION = 400, 50  # of a file, and of a function

# Pure parts have no client of anything: what they import from elsewhere is the standard library and orjson.
PURE = ("records", "errors", "item", "nested", "mapping", "dms")
CLIENTS = {"boto3", "botocore", "pymysql", "asyncmy", "socket", "http", "urllib", "urllib3", "subprocess", "asyncio"}


@cache
def parts() -> list[str]:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return sorted(folders | {path.stem for path in PACKAGE.glob("*.py")})


def modules_of(part: str) -> list[Path]:
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


@cache
def tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


@cache
def imports(file: Path) -> list[str]:
    """Every module that the file imports, anywhere in it, by its full name."""
    found = []
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            found += [f"{node.module}.{name.name}" for name in node.names]
    return found


def whimbrel_parts(file: Path) -> set[str]:
    """The parts of whimbrel that the file imports; ``from whimbrel import __version__`` imports none."""
    names = [name.split(".") for name in imports(file)]
    return {name[1] for name in names if name[0] == "whimbrel" and len(name) > 1 and name[1] in parts()}


@pytest.mark.parametrize("part", parts())
def test_a_part_imports_only_what_it_may(part: str) -> None:
    assert part in MAY_IMPORT, f"say in MAY_IMPORT what {part} may import"
    allowed = MAY_IMPORT[part] | {part}
    wrong = {
        f"{file.relative_to(PACKAGE)} imports {name}"
        for file in modules_of(part)
        for name in whimbrel_parts(file)
        if name not in allowed and "*" not in allowed
    }
    assert not wrong


def test_a_part_imports_only_from_above_it() -> None:
    """So there is no circle of parts."""
    above = list(MAY_IMPORT)
    assert not {
        f"{part} imports {name}"
        for part, used in imported_parts().items()
        for name in used
        if above.index(name) > above.index(part)
    }


def test_no_module_imports_itself_by_way_of_others() -> None:
    """Not even where an import stands within a function to hide it."""
    graph = {name_of(file): {module_of(name) for name in imports(file)} for file in PACKAGE.rglob("*.py")}
    try:
        TopologicalSorter({module: used - {"", module} for module, used in graph.items()}).prepare()
    except CycleError as circle:
        pytest.fail(" -> ".join(circle.args[1]))


def name_of(file: Path) -> str:
    return ".".join(("whimbrel", *file.relative_to(PACKAGE).with_suffix("").parts))


def module_of(name: str) -> str:
    """The module of ours that ``name`` is, or is taken from; "" for one of others and for the package's version."""
    inside = name.split(".")[1:]
    for parts_of_it in (inside, inside[:-1]):
        if name.startswith("whimbrel.") and parts_of_it and (path := PACKAGE.joinpath(*parts_of_it)):
            if path.with_suffix(".py").exists():
                return name_of(path)
            if (path / "__init__.py").exists() and parts_of_it == inside:
                return name_of(path / "__init__.py")
    return ""


def imported_parts() -> dict[str, set[str]]:
    return {part: {name for file in modules_of(part) for name in whimbrel_parts(file)} - {part} for part in parts()}


def test_the_page_says_who_imports_whom() -> None:
    used = imported_parts()
    lines = [f"{part:<14} {' '.join(sorted(used[part])) or '-'}" for part in MAY_IMPORT if not part.startswith("__")]
    block = "\n".join(["```", *lines, "```"])
    assert block in PAGE.read_text(), f"put this into docs/architecture.md:\n{block}"


def test_what_the_page_says_is_in_a_folder_is_there() -> None:
    rows = re.findall(r"^\| `(\w+)/` \| (.*) \|$", PAGE.read_text(), re.MULTILINE)
    assert len(rows) > 10
    missing = {
        f"{folder}/{name}"
        for folder, words in rows
        for name in re.findall(r"`(\w+)/?`", words)
        if not any((each / f"{name}.py").exists() or (each / name).is_dir() for each in within(PACKAGE / folder))
    }
    assert not missing


def within(folder: Path) -> list[Path]:
    return [folder, *(path for path in folder.iterdir() if path.is_dir())]


def python_files() -> list[Path]:
    return [file for folder in ("src", "demo", "benchmarks", "tests") for file in (ROOT / folder).rglob("*.py")]


def test_no_file_is_too_long() -> None:
    long = {str(file.relative_to(ROOT)) for file in python_files() if len(file.read_text().splitlines()) > MOST_LINES}
    assert not long, f"over {MOST_LINES} lines, split by subject"


def test_no_function_is_too_long() -> None:
    """The trees of all tests are not kept: each collection of garbage would look through them."""
    long = {
        f"{file.relative_to(ROOT)}: {node.name}"
        for file in python_files()
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (node.end_lineno or 0) - node.lineno + 1 > MOST_LINES_OF_A_FUNCTION
    }
    assert not long, f"over {MOST_LINES_OF_A_FUNCTION} lines"


# Names of two classes: a public name and one within a part, a protocol and what keeps it, and the tokens of two lexers.
SHARED_NAMES = {"Update", "Refused", "Control", "Token"}


def test_no_two_classes_have_one_name() -> None:
    names = Counter(
        node.name for file in PACKAGE.rglob("*.py") for node in tree(file).body if isinstance(node, ast.ClassDef)
    )
    shared = {name for name, times in names.items() if times > 1 and not name.startswith("_")}
    assert shared == SHARED_NAMES


@pytest.mark.parametrize("part", PREDICTION)
def test_a_part_of_prediction_imports_only_what_it_may(part: str) -> None:
    assert set(PREDICTION) == {path.stem for path in (PACKAGE / "prediction").iterdir() if path.name != "__pycache__"}
    allowed = {f"whimbrel.prediction.{name}" for name in (PREDICTION[part] | {part})}
    used = {name for file in modules_of(f"prediction/{part}") for name in imports(file)}
    ours = {".".join(name.split(".")[:3]) for name in used if name.startswith("whimbrel.prediction.")}
    assert ours <= allowed


def test_only_the_command_line_imports_the_command_line() -> None:
    users = {part for part in parts() for file in modules_of(part) if "cli" in whimbrel_parts(file)}
    assert users <= {"cli", "__main__"}


def test_only_the_commands_and_the_package_import_the_api() -> None:
    users = {part for part in parts() for file in modules_of(part) if "api" in whimbrel_parts(file)}
    assert users <= {"api", "cli", "console", "__init__"}


# What the commands share; and what a command may call of the other parts, to find a file that it names or writes to, to
# read what it was given, and to show a time.
OF_THE_COMMANDS = {"api", "cli", "console", "ui", "project", "errors", "memory", "private", "threads", "notes"}
MAY_CALL = {
    "whimbrel.prediction.serve.project.registry_folder",
    "whimbrel.lake.datasets",
    "whimbrel.lake.opened.lake_folder",
    "whimbrel.lake.statements.statements",
    "whimbrel.lake.need.need",
}


def test_a_command_does_its_work_through_the_api() -> None:
    """It may name the types and constants of other parts, but calls none of their functions."""
    called = {
        name
        for file in modules_of("cli")
        for name in imports(file)
        if name.startswith("whimbrel.") and name.split(".")[1] not in OF_THE_COMMANDS and is_work(name)
    }
    assert called == MAY_CALL


def is_work(name: str) -> bool:
    """Whether it is a module or a function, rather than a type or a constant."""
    module, _, word = name.rpartition(".")
    found = getattr(import_module(module), word, None)
    return isinstance(found, FunctionType | ModuleType | None)


# Code that is made and run: each makes it of numbers and names of its own, with what comes from outside as constants.
GENERATES_CODE = {
    "mapping/generate.py",
    "mysql/binlog/decimal.py",
    "mysql/binlog/decoders.py",
    "prediction/model/features.py",
    "snapshot_files.py",
}


def test_only_these_run_code_that_they_made() -> None:
    found = {str(file.relative_to(PACKAGE)) for file in PACKAGE.rglob("*.py") if {"exec", "eval"} & set(calls(file))}
    assert found == GENERATES_CODE


def test_the_library_prints_nothing_ends_nothing_and_handles_no_signal() -> None:
    """That is for the commands, the container's programs, Spark's driver, the function's handler, and processes that
    read for another one.
    """
    names = ("cli", "__main__.py", "prediction/sagemaker", "ui/display.py", "workers.py", "migration/spark/boot.py")
    programs = [PACKAGE / name for name in (*names, "function/handler.py", "lake/confined.py")]
    library = [file for file in PACKAGE.rglob("*.py") if not any(file.is_relative_to(each) for each in programs)]
    assert not {str(file.relative_to(PACKAGE)) for file in library for call in calls(file) if call in NOT_OF_A_LIBRARY}


NOT_OF_A_LIBRARY = {"print", "exit", "sys.exit", "os._exit", "signal.signal", "logging.basicConfig", "click.echo"}


def calls(file: Path) -> Iterator[str]:
    """What the file calls, by the names that stand there."""
    return (ast.unparse(node.func) for node in ast.walk(tree(file)) if isinstance(node, ast.Call))


@pytest.mark.parametrize("part", PURE)
def test_a_pure_part_has_no_client(part: str) -> None:
    assert not {name.split(".")[0] for file in modules_of(part) for name in imports(file)} & CLIENTS


def test_the_package_imports_nothing_of_its_surroundings() -> None:
    found = {name.split(".")[0] for file in PACKAGE.rglob("*.py") for name in imports(file)}
    assert not found & {"demo", "tests", "benchmarks", "pytest", "hypothesis", "ministack", "pymysqlreplication"}


def test_what_is_imported_of_ours_is_there() -> None:
    """Also within functions, and in what no run of the normal suite imports."""
    users = [file for file in own_files() if file.suffix == ".py"]
    wanted = {name for file in users for name in imports(file) if name.startswith("whimbrel.")}
    assert not {name for name in wanted if not is_there(name)}


def is_there(name: str) -> bool:
    """Whether the name, or what it is taken from, is a module of ours."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    return any(each.with_suffix(".py").exists() or (each / "__init__.py").exists() for each in (path, path.parent))


def test_the_tree_of_errors_is_the_one_drawn() -> None:
    assert drawn_errors() == {
        name: kind.__bases__[0].__name__
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.WhimbrelError) and kind is not errors.WhimbrelError
    }


def test_retryable_is_marked_where_it_is_drawn() -> None:
    marked = set(re.findall(r"(\w+)\s+\(Retryable\)", errors.__doc__ or ""))
    assert marked == {kind.__name__ for kind in errors.Retryable.__subclasses__()}


def drawn_errors() -> dict[str, str]:
    """Each error and its parent, as the docstring of errors.py draws them: an error is one step right of its parent."""
    found, path = {}, ["WhimbrelError"]
    for line in (errors.__doc__ or "").splitlines():
        if drawn := re.match(r"([ │]*)[├└]── (\w+)", line):
            depth = (len(drawn[1]) - 4) // 4 + 1
            path = [*path[:depth], drawn[2]]
            found[drawn[2]] = path[depth - 1]
    return found


# Put together here, so that this file does not hold them itself.
HOSTS = ["pypi" + ".org", "pythonhosted" + ".org", "npmjs" + ".org", "deb.debian" + ".org", "snapshot.debian" + ".org"]
NEVER = [*HOSTS, "/" + "work/"]
EVERY_INTERFACE = "0.0.0.0"


def own_files() -> Iterator[Path]:
    """Every file of the checkout that is ours: not what git keeps, and nothing that was installed, built or cached."""
    for place, folders, files in os.walk(ROOT):
        folders[:] = filter(_is_ours, folders)
        yield from (Path(place, each) for each in filter(_is_ours, files))


def _is_ours(name: str) -> bool:
    made = name in {"__pycache__", "node_modules", "build", "dist"} or "egg-info" in name
    return not made and (not name.startswith(".") or name in (".ci", ".gitignore"))


def test_no_file_names_a_registry_or_a_machine() -> None:
    texts = {str(file.relative_to(ROOT)): file.read_text(encoding="utf-8", errors="replace") for file in own_files()}
    assert len(texts) > 30
    assert not [f"{file}: {needle}" for file, text in texts.items() for needle in NEVER if needle in text]


def test_no_server_of_ours_listens_on_every_interface() -> None:
    files = [file for folder in ("src", "demo", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    assert {file for file in files if EVERY_INTERFACE in file.read_text()} == set()
