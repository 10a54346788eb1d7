"""Tries to load engines with weights that may be broken, each in a process of its own.

A library that ends the process takes only the attempt with it. As a program it reads `Attempt`s from standard input
and writes an `Outcome` for each, a line of JSON each; it forks for every attempt, so that what is slow to import is
imported once.
"""

import contextlib
import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from pipeline.errors import EngineError
from pipeline.registry import StageName, find_engine

ROOT = Path(__file__).parents[3]

_TRY_S = 60


class Attempt(msgspec.Struct, frozen=True):
    """An engine and its options; `path` is a folder to import from before all others, if any."""

    stage: StageName
    engine: str
    block: dict[str, object]
    path: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What came of it: an EngineError's `problem`, `mend` and `option`; or what `happened` instead."""

    problem: str = ""
    mend: str = ""
    option: str | None = None
    happened: str | None = None


def try_all(attempts: Sequence[Attempt], site: Path) -> list[Outcome]:
    """Returns what comes of each attempt. Packages in the folder `site` count as installed."""
    with tempfile.TemporaryDirectory() as home:
        program = subprocess.run(
            [sys.executable, "-m", __name__],
            input=b"\n".join(map(msgspec.json.encode, attempts)),
            capture_output=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": os.pathsep.join((str(ROOT), str(site))), "HOME": home},
            timeout=_TRY_S * max(1, len(attempts)),
            check=False,
        )
    assert program.returncode == 0, program.stderr.decode(errors="replace")[-2000:]
    return [msgspec.json.decode(line, type=Outcome) for line in program.stdout.splitlines()]


def _main() -> None:
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what a library prints is no answer
        for line in sys.stdin.buffer.read().splitlines():
            attempt = msgspec.json.decode(line, type=Attempt)
            if attempt.path is None:
                with contextlib.suppress(EngineError):
                    find_engine(attempt.stage, attempt.engine)  # imported before it is forked
            else:
                importlib.import_module("onnxruntime")
            answers.write(msgspec.json.encode(_in_a_process(attempt)) + b"\n")
            answers.flush()


def _in_a_process(attempt: Attempt) -> Outcome:
    reading, writing = os.pipe()
    process = os.fork()
    if process == 0:
        try:
            os.write(writing, msgspec.json.encode(_load(attempt)))
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read()
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    if status != 0 or not answer:
        return Outcome(happened=f"the process ended with status {status}")
    return msgspec.json.decode(answer, type=Outcome)


def _load(attempt: Attempt) -> Outcome:
    if attempt.path is not None:
        sys.path.insert(0, attempt.path)
    try:
        found = find_engine(attempt.stage, attempt.engine)
        engine = found.make(msgspec.convert(attempt.block, found.options))
        engine.warm_up()
        engine.close()
    except EngineError as error:
        return Outcome(error.problem, error.mend, error.option)
    except BaseException as error:
        return Outcome(happened=f"{type(error).__name__}: {error}")
    return Outcome(happened="it was loaded")


if __name__ == "__main__":
    _main()
