"""Gives the tests their cases, and the engines of those, each loaded once."""

import contextlib
import importlib
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from pipeline.config_file import read_document
from pipeline.engine_options import convert_options
from pipeline.registry import EngineClass, find_engine
from tests.engines.contract.case import Case
from tests.engines.contract.cases import CASES

T = TypeVar("T")

THIRD_PARTY = Path(__file__).parents[1] / "third_party"

Load = Callable[..., Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", help="a module with CASES of other engines, to try instead of Parley's own")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" in metafunc.fixturenames:
        module = metafunc.config.getoption("--cases", default=None)
        cases = importlib.import_module(module).CASES if module else CASES
        stage = getattr(metafunc.module, "STAGE", None)
        chosen = [case for case in cases if stage in (None, case.stage)]
        metafunc.parametrize("case", chosen, ids=[case.name for case in chosen], scope="session")


class SharedPlace:
    """What the cases have made, until the tests are over."""

    def __init__(self, folder: Path, site: Path, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self._site = site
        self._stack = stack
        self._made: dict[str, Any] = {}

    def once(self, key: str, make: Callable[[], T]) -> T:
        if key not in self._made:
            self._made[key] = make()
            self._stack.callback(getattr(self._made[key], "close", lambda: None))
        made: T = self._made[key]
        return made

    def third_party(self, module: str) -> Any:
        with importing_from(self._site):
            return importlib.import_module(module)


@contextlib.contextmanager
def importing_from(folder: Path) -> Iterator[None]:
    """Has packages in a folder count as installed; other tests know nothing of them."""
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Installs the package in tests/engines/third_party, and returns the folder that it was installed into."""
    beside = Path(sys.executable).with_name("uv")  # `make setup` puts it there
    uv = str(beside) if beside.is_file() else shutil.which("uv")
    assert uv is not None, "uv is needed to install a package: `make setup` installs it"
    folder = tmp_path_factory.mktemp("installed")
    command = [uv, "pip", "install", "--offline", "--no-deps", "--python", sys.executable, "--target", str(folder)]
    installed = subprocess.run([*command, str(THIRD_PARTY)], capture_output=True, text=True, check=False)
    assert installed.returncode == 0, installed.stderr
    return folder


@pytest.fixture(scope="session")
def place(site: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedPlace]:
    with contextlib.ExitStack() as stack:
        yield SharedPlace(tmp_path_factory.mktemp("cases"), site, stack)


@pytest.fixture(scope="session")
def engine_class(case: Case[Any], site: Path) -> EngineClass:
    """The engine, imported as the server does."""
    if (reason := case.requires()) is not None:
        pytest.skip(f"NOT TRIED: {case.name}: {reason}")
    with importing_from(site) if case.installed else contextlib.nullcontext():
        return find_engine(case.stage, case.engine)


@pytest.fixture(scope="session")
def loader(case: Case[Any], engine_class: EngineClass, place: SharedPlace) -> Load:
    """Loads engines with the options of the case as models.yaml would give them, and further ones."""

    def load(**further: Any) -> Any:
        file = place.folder / f"{case.name}.yaml"
        file.write_text("{}")
        block = {**case.block(place), **further}
        return engine_class.make(convert_options(read_document(file), engine_class, block, ("models", "x", case.stage)))

    return load


@pytest.fixture(scope="session")
def engine(loader: Load) -> Iterator[Any]:
    """The engine of the case, for all tests that leave it as it was."""
    engine = loader()
    engine.warm_up()
    yield engine
    engine.close()


@pytest.fixture
def load(loader: Load) -> Iterator[Load]:
    """Loads engines for one test, which may close them itself."""
    engines: list[Any] = []

    def load(**further: Any) -> Any:
        engines.append(loader(**further))
        return engines[-1]

    yield load
    for engine in engines:
        engine.close()  # again, for those that the test closed
