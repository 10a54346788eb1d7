"""Engine name → engine class, by entry point.

Every engine, built in or not, is an entry point of one of five groups: `parley.vad`, `parley.endpointing`,
`parley.transcription`, `parley.llm`, `parley.tts`. Its name is what models.yaml says after `engine:`, its value
the class. A package in the same environment that declares one has added an engine; its code is imported when a
pipeline chooses it and not before, so that a broken package harms only those who chose it.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, Literal, TypeAlias

import msgspec

from pipeline.device import check_device
from pipeline.errors import EngineError

StageName: TypeAlias = Literal["vad", "endpointing", "transcription", "llm", "tts"]

STAGES: Final[tuple[StageName, ...]] = ("vad", "endpointing", "transcription", "llm", "tts")
"""The stages, in the order in which a turn passes them."""


@dataclass(frozen=True, slots=True)
class EngineClass:
    """An engine that has been imported, not yet loaded. `made` is its class."""

    stage: StageName
    name: str
    package: str
    made: Callable[[Any], Any]
    options: type[msgspec.Struct]

    def make(self, options: Any) -> Any:
        """Loads the engine, which may take long.

        Raises:
            EngineError: it cannot be loaded.
        """
        check_device(self.name, self.made, options)
        return self.made(options)


def engine_names(stage: StageName) -> tuple[str, ...]:
    """Returns the names of the stage's engines, sorted, without importing any of them."""
    return tuple(sorted({entry.name for entry in _entries(stage)}))


def find_engine(stage: StageName, name: str) -> EngineClass:
    """Imports the engine of that name.

    Raises:
        EngineError: no engine has this name, two packages claim it, its package cannot be imported, or what it
            names is not an engine.
    """
    entry = _only(stage, name)
    package = _package(entry)
    try:
        made = entry.load()
    except EngineError:
        raise
    except Exception as error:
        others = [other for other in engine_names(stage) if other != name]
        raise EngineError(
            f"The {stage} engine `{name}` cannot be imported from the package {package}: "
            f"{type(error).__name__}: {error}.",
            f"Reinstall {package} and what it needs{f', or choose from: {listed(others)}' if others else ''}.",
            option="engine",
        ) from error
    options = getattr(made, "Options", None)
    if not callable(made) or not isinstance(options, type) or not issubclass(options, msgspec.Struct):
        raise EngineError(
            f"The {stage} engine `{name}` of the package {package} is not an engine class: `{entry.value}` has no "
            "`Options` struct.",
            f"Choose another engine, or tell the authors of {package} to read docs/add-an-engine.md.",
            option="engine",
        )
    return EngineClass(stage, name, package, made, options)


def listed(names: Iterable[str]) -> str:
    """Returns names for an error message: "`a`, `b`", or "none"."""
    return ", ".join(f"`{name}`" for name in names) or "none"


def close_match(word: str, choices: Iterable[str]) -> str | None:
    """Returns the choice that was probably meant, if any. Case and `_` for `-` do not count."""
    plain = {_plain(choice): choice for choice in choices}
    found = difflib.get_close_matches(_plain(word), plain, n=1, cutoff=0.6)
    return plain[found[0]] if found else None


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Returns "Did you mean `x`? " for an error message, or nothing."""
    match = close_match(word, choices)
    return f"Did you mean `{match}`? " if match else ""


def _plain(word: str) -> str:
    return word.lower().replace("_", "-")


def _entries(stage: StageName) -> tuple[EntryPoint, ...]:
    return tuple(entry_points(group=f"parley.{stage}"))


def _package(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist is not None else entry.module


def _only(stage: StageName, name: str) -> EntryPoint:
    found = [entry for entry in _entries(stage) if entry.name == name]
    if not found:
        raise _unknown(stage, name)
    # A package must not be able to take a name over in silence, so neither of two wins.
    if len({entry.value for entry in found}) > 1:
        packages = sorted(_package(entry) for entry in found)
        raise EngineError(
            f"{len(packages)} packages offer a {stage} engine called `{name}`: {', '.join(packages)}.",
            "Uninstall all but one of them.",
            option="engine",
        )
    return found[0]


def _unknown(stage: StageName, name: str) -> EngineError:
    names = engine_names(stage)
    elsewhere = [other for other in STAGES if other != stage and name in engine_names(other)]
    hint = f"`{name}` is an engine for {' and '.join(elsewhere)}. " if elsewhere else did_you_mean(name, names)
    return EngineError(
        f"There is no {stage} engine called `{name}`.",
        f"{hint}Engines for {stage}: {listed(names)}. An engine of another package has to be installed into "
        "the same environment.",
        option="engine",
    )
