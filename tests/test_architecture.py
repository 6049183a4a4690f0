"""The shape of the code, held by looking at it: who imports whom, the tree of errors, and what no file may name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from whimbrel import errors

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "whimbrel"
ANYTHING = {"*"}

# A part is a module or a folder directly under whimbrel/. What it may import of whimbrel, besides itself:
MAY_IMPORT: dict[str, set[str]] = {
    # the nouns and what everything may stand on
    "records": set(),
    "errors": set(),
    "private": set(),
    "memory": {"errors"},
    "threads": set(),
    "notes": set(),
    "project": {"errors", "private"},
    "durable": {"errors"},
    "item": {"records"},
    # pure: from rows and changes to operations on items
    "mapping": {"records", "errors", "project", "item"},
    "dms": {"records", "errors", "project", "mapping"},
    # the two sides, which do not know each other
    "mysql": {"records", "errors", "private", "project", "durable", "snapshot_files", "memory", "threads"},
    "dynamodb": {"records", "errors", "project", "item", "memory", "threads"},
    # what is kept on disk
    "changelog": {"records", "errors", "durable"},
    "snapshot_files": {"records", "errors", "durable"},
    "spill": {"records", "errors", "durable"},
    "checkpoint": {"records", "errors", "durable", "changelog"},
    # only these bring the parts together
    "migration": ANYTHING,
    "checks": ANYTHING,
    "lake": {"records", "errors", "durable", "project", "dynamodb", "item", "spill"},
    "prediction": {"records", "errors", "durable", "project", "lake", "private", "threads", "checkpoint"},
    "setup": {"records", "errors", "notes", "project", "mysql", "mapping", "dms", "item", "migration"},
    # the verbs as functions, and the commands over them
    "api": ANYTHING,
    "ui": ANYTHING,
    "cli": ANYTHING,
    "__init__": {"api", "errors", "project"},
    "__main__": {"cli", "memory"},
}

# The rooms of prediction/, and its modules beside them: which of the others each may import.
ROOMS: dict[str, set[str]] = {
    "model": set(),
    "train": {"model"},
    "serve": {"model"},
    "sagemaker": {"model", "train", "serve"},
    "renew": {"model", "train", "serve", "sagemaker"},
    "server": {"serve", "sagemaker"},
    "__init__": set(),
}

# Pure parts have no client of anything: what they import from elsewhere is the standard library and orjson.
PURE = ("records", "errors", "item", "mapping", "dms")
CLIENTS = {"boto3", "botocore", "pymysql", "asyncmy", "socket", "http", "urllib", "urllib3", "subprocess", "asyncio"}


def parts() -> list[str]:
    folders = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.rglob("*.py"))}
    return sorted(folders | {path.stem for path in PACKAGE.glob("*.py")})


def modules_of(part: str) -> list[Path]:
    folder = PACKAGE / part
    return sorted(folder.rglob("*.py")) if folder.is_dir() else [PACKAGE / f"{part}.py"]


def imports(file: Path) -> Iterator[str]:
    """Every module that the file imports, anywhere in it, by its full name."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: imports are absolute here"
            yield from (f"{node.module}.{name.name}" for name in node.names)


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


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_of_prediction_imports_only_what_it_may(room: str) -> None:
    assert set(ROOMS) == {path.stem for path in (PACKAGE / "prediction").iterdir() if path.name != "__pycache__"}
    allowed = {f"whimbrel.prediction.{name}" for name in (ROOMS[room] | {room})}
    used = {name for file in modules_of(f"prediction/{room}") for name in imports(file)}
    ours = {".".join(name.split(".")[:3]) for name in used if name.startswith("whimbrel.prediction.")}
    assert ours <= allowed


def test_only_the_command_line_imports_the_command_line() -> None:
    users = {part for part in parts() for file in modules_of(part) if "cli" in whimbrel_parts(file)}
    assert users <= {"cli", "__main__"}


def test_only_the_commands_and_the_package_import_the_api() -> None:
    users = {part for part in parts() for file in modules_of(part) if "api" in whimbrel_parts(file)}
    assert users <= {"api", "cli", "__init__"}


def test_the_library_prints_nothing_ends_nothing_and_handles_no_signal() -> None:
    """That is for the commands, and for the container's programs."""
    programs = [PACKAGE / name for name in ("cli", "__main__.py", "prediction/sagemaker", "ui/display.py")]
    library = [file for file in PACKAGE.rglob("*.py") if not any(file.is_relative_to(each) for each in programs)]
    assert not {str(file.relative_to(PACKAGE)) for file in library for call in calls(file) if call in NOT_OF_A_LIBRARY}


NOT_OF_A_LIBRARY = {"print", "exit", "sys.exit", "os._exit", "signal.signal", "logging.basicConfig", "click.echo"}


def calls(file: Path) -> Iterator[str]:
    """What the file calls, by the names that stand there."""
    return (ast.unparse(node.func) for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))


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
    for path in ROOT.rglob("*"):
        inside = path.relative_to(ROOT).parts
        hidden = any(part.startswith(".") and part not in (".ci", ".gitignore") for part in inside)
        made = {"__pycache__", "node_modules", "build", "dist"} & set(inside) or any(
            "egg-info" in part for part in inside
        )
        if path.is_file() and not hidden and not made:
            yield path


def test_no_file_names_a_registry_or_a_machine() -> None:
    files = list(own_files())
    assert len(files) > 30
    found = {
        f"{file.relative_to(ROOT)}: {needle}"
        for file in files
        for needle in NEVER
        if needle in file.read_text(encoding="utf-8", errors="replace")
    }
    assert not found


def test_no_server_of_ours_listens_on_every_interface() -> None:
    files = [file for folder in ("src", "demo", "benchmarks") for file in (ROOT / folder).rglob("*.py")]
    assert {file for file in files if EVERY_INTERFACE in file.read_text()} == set()
