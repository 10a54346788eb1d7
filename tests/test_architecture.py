"""The arrows of docs/architecture.md, read from the code: who may import whom, and how long things may be."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60

# What would give the session machine a clock, a socket or a will of its own.
NOT_IN_THE_MACHINE = {"aiohttp", "asyncio", "concurrent", "datetime", "multiprocessing", "queue", "random", "secrets"}
NOT_IN_THE_MACHINE |= {"select", "selectors", "socket", "ssl", "subprocess", "threading", "time", "uuid", "websockets"}

DIALECT = re.compile(r"(?<![A-Za-z])(?:beta|ga)(?![A-Za-z])", re.IGNORECASE)


def files(*folders: str) -> list[str]:
    """The Python files of these folders, relative to the top of the tree."""
    return sorted(
        str(file.relative_to(ROOT))
        for folder in folders
        for file in (ROOT / folder).rglob("*.py")
        if "__pycache__" not in file.parts
    )


CODE = files("pipeline", "server", "scripts")

TRAINING = ("scripts/train_", "scripts/make_test_models/")
"""What makes weights, by hand."""


def parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), file)


def imports(file: str) -> set[str]:
    """Every module that a file imports, anywhere in it, by its full name; `from a import b` is `a.b`."""
    package = list(Path(file).parent.parts)
    found: set[str] = set()
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found.update(f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
            called = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            if called in {"import_module", "__import__"} and node.args and isinstance(node.args[0], ast.Constant):
                found.add(str(node.args[0].value))
    return found


def roots(file: str) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def functions(file: str) -> Iterator[tuple[str, int]]:
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def names(file: str) -> Iterator[str]:
    """Every name in the code and every text in it that is not a docstring."""
    tree = parse(file)
    documentation = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name) | ast.Attribute(attr=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
                yield name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.Constant(value=str(text)) if id(node) not in documentation:
                yield text
            case _:
                pass
    yield from imports(file)


def test_there_is_code_to_look_at() -> None:
    assert {"pipeline/types.py", "server/realtime/machine.py", "server/wire/ga.py"} <= set(CODE)


@pytest.mark.parametrize("file", files("pipeline"))
def test_the_pipeline_knows_no_server(file: str) -> None:
    assert not roots(file) & {"server", "scripts", "tests"}


@pytest.mark.parametrize("file", files("server"))
def test_the_server_needs_no_scripts_and_no_tests(file: str) -> None:
    assert not roots(file) & {"scripts", "tests"}


@pytest.mark.parametrize("file", files("server/realtime"))
def test_the_session_machine_has_no_sockets_no_tasks_no_clock_and_no_dice(file: str) -> None:
    assert not roots(file) & NOT_IN_THE_MACHINE
    assert not {name for name in imports(file) if name.startswith("numpy.random")}


@pytest.mark.parametrize("file", files("server/realtime"))
def test_the_session_machine_knows_nothing_of_what_stands_around_it(file: str) -> None:
    around = {name for name in imports(file) if name.startswith("server.") and not name.startswith("server.realtime")}
    assert not around


@pytest.mark.parametrize("file", [file for file in files("pipeline", "server") if not file.startswith("server/wire/")])
def test_a_dialect_is_mentioned_in_wire_alone(file: str) -> None:
    assert not [name for name in names(file) if DIALECT.search(name)]


@pytest.mark.parametrize("file", files("server/wire"))
def test_a_dialect_only_decodes_and_encodes(file: str) -> None:
    assert not roots(file) & (NOT_IN_THE_MACHINE - {"datetime"})


@pytest.mark.parametrize("file", [file for file in CODE if not file.startswith(TRAINING)])
def test_torch_is_for_training_alone(file: str) -> None:
    assert not roots(file) & {"torch", "torchaudio"}


@pytest.mark.parametrize("file", CODE)
def test_a_file_is_short_enough_to_read(file: str) -> None:
    lines = len((ROOT / file).read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_FILE_LINES, f"{lines} lines"


@pytest.mark.parametrize("file", CODE)
def test_a_function_is_short_enough_to_read(file: str) -> None:
    long = {name: lines for name, lines in functions(file) if lines > MAX_FUNCTION_LINES}
    assert not long
