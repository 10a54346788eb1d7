"""What the contract suite has to know of an engine: one `Case` each. Where they are listed: cases.py."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from pipeline.registry import StageName
from pipeline.stages import (
    EndOfTurnDetector,
    LanguageModel,
    Synthesizer,
    Transcriber,
    VoiceActivityDetector,
)
from pipeline.types import Pcm16

T = TypeVar("T")

HOUR_S = 3600.0


class Place(Protocol):
    """Where a case makes what its engine needs: once for all tests."""

    folder: Path
    """Its own, and gone after the tests."""

    def once(self, key: str, make: Callable[[], T]) -> T:
        """Returns what `make` made the first time; what has a `close` is closed after the tests."""

    def third_party(self, module: str) -> Any:
        """Returns a module of the package in tests/engines/third_party, which is installed for that."""


Block = Mapping[str, Any]
"""The keys of a block in models.yaml, without `engine`."""


def nothing(place: Place) -> Block:
    """Says that an engine needs no option."""
    return {}


@dataclass(frozen=True)
class Weights:
    """Files that an engine loads, and how they may be broken.

    `whole` returns the file or the folder as it should be. `option` is the key that names it (or its file `entry`). An
    engine whose weights come with another package has no such key: then `package` is that package's name, and `whole`
    its folder.
    `files` are those in the folder that are broken one after the other (none: the weights are one file); an `optional`
    one may be missing. `cuttable` are those that mean something at any length, such as a list of words: nobody can tell
    that they were cut.
    `others` returns weights of the right format that are made for something else. `with_them` are further options.
    """

    whole: Callable[[Place], Path]
    option: str | None = None
    entry: str = ""
    package: str | None = None
    files: tuple[str, ...] = ()
    cuttable: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    others: Callable[[Place], tuple[Path, ...]] = lambda place: ()
    with_them: Callable[[Place], Block] = nothing


@dataclass(frozen=True)
class Refused:
    """Options that suit their types and that the engine must refuse when it is loaded, naming `option`."""

    option: str
    block: Callable[[Place], Block]


@dataclass(frozen=True, kw_only=True)
class Case(Generic[T]):
    """One engine, with the options of one block in models.yaml.

    `requires` returns why the engine cannot be tried here, for one whose weights may be out of reach.
    `device` is what `device_of` says where there is no GPU. `installed` tells that the engine comes from the package in
    tests/engines/third_party.
    """

    stage: StageName
    engine: str
    block: Callable[[Place], Block] = nothing
    weights: tuple[Weights, ...] = ()
    refused: tuple[Refused, ...] = ()
    requires: Callable[[], str | None] = lambda: None
    device: Callable[[Place], str] = lambda place: "cpu"
    installed: bool = False
    label: str = ""

    @property
    def name(self) -> str:
        return self.label or f"{self.stage}-{self.engine}"


@dataclass(frozen=True, kw_only=True)
class VadCase(Case[VoiceActivityDetector]):
    """`long_s`: how many seconds of sound are judged for the test of an hour."""

    long_s: float = HOUR_S


@dataclass(frozen=True, kw_only=True)
class EndpointingCase(Case[EndOfTurnDetector]):
    """`agree_ms`: by how much the answer to the same pause may differ when several are asked at once."""

    agree_ms: int = 0


@dataclass(frozen=True, kw_only=True)
class TranscriptionCase(Case[Transcriber]):
    """`understands` maps sentences to their sound, int16 `[n]` at 16 kHz; each must come back but for `errors` words.

    `deaf`: an engine that answers the same whatever it hears, so that silence and noise prove nothing; `mishears`:
    those of `sounds.wordless` in which it hears words. `long_s`: how many seconds of sound are heard for the test of an
    hour; `forgets`: of which it keeps only the newest.
    """

    understands: Callable[[Place], Mapping[str, Pcm16]]
    errors: int = 0
    deaf: bool = False
    mishears: frozenset[str] = frozenset()
    forgets: bool = False
    long_s: float = HOUR_S


@dataclass(frozen=True, kw_only=True)
class LanguageModelCase(Case[LanguageModel]):
    """`prompts` are answered in more than a few pieces, and at temperature 0 always alike where it is `repeatable`.

    `counts`: the engine knows how many tokens there were. `heeds_limit`: it ends at `max_tokens`; false for one that
    leaves it to a service, which does as it likes.
    """

    prompts: tuple[str, ...] = ("Tell me of the sea.", "How are you today?", "What is your name?", "Count to twenty.")
    repeatable: bool = True
    counts: bool = True
    heeds_limit: bool = True


@dataclass(frozen=True, kw_only=True)
class SynthesisCase(Case[Synthesizer]):
    """`repeatable`: the same clause has the same samples every time; else it is as long but for a fiftieth.

    `voices`: how many of the voices are tried. `any_voice`: whoever runs the model decides what voices there are.
    `heeds_speed`: false for one that leaves the speed to a service, which does as it likes. `long_s`: about how many
    seconds the text takes to say for the test of an hour.
    """

    long_s: float = HOUR_S

    repeatable: bool = True
    voices: int = 3
    any_voice: bool = False
    heeds_speed: bool = True
    texts: tuple[str, ...] = field(
        default=("Good morning to you.", "The sea is wide and deep.", "One, two, three.", "Where were we?")
    )
