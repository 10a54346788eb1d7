"""Reads what was understood: a sentence that cannot end there is given more time than one that can. English.

It needs no weights, so it is what `semantic_vad` goes by where a pipeline has no detector of its own. How often it is
right, beside one that listens, is in docs/turn-detection.md.
"""

from typing import Annotated, Final, Literal

from msgspec import Meta

from pipeline.endpointing.english import likely_to_go_on
from pipeline.stages import EngineOptions, Pause
from pipeline.workers import CancelToken

_QUIET_MS: Final = 64
"""The silence that has passed when a pause is judged: no turn can end sooner."""

_BY_SILENCE: Final = 4
"""Where no words are known the silence alone decides: a fourth of the most, 1 s at OpenAI's default of 4 s."""


class Words:
    """End of turn by how the sentence ends, as far as it was understood: microseconds of computing for each pause."""

    reads: frozenset[Literal["sound", "words"]] = frozenset({"words"})

    class Options(EngineOptions, frozen=True, kw_only=True):
        """How long to wait where nothing is missing."""

        silence_ms: Annotated[
            int,
            Meta(
                ge=_QUIET_MS,
                description="Silence that ends a turn after a finished question, command or answer. The more a "
                "sentence looks unfinished, the longer it must last, up to the most that `eagerness` allows.",
            ),
        ] = 300

    def __init__(self, options: Options) -> None:
        """Needs nothing."""
        self._silence_ms = options.silence_ms

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        """Returns `silence_ms` where the sentence is finished, and from there to `most_ms` the longer the less it is;
        a fourth of `most_ms` where nothing was understood.
        """
        least = min(self._silence_ms, pause.most_ms)
        if not pause.transcript.strip():
            return max(least, pause.most_ms // _BY_SILENCE)
        return round(least + likely_to_go_on(pause.transcript) * (pause.most_ms - least))

    def warm_up(self) -> None:
        """Has nothing to warm."""

    def close(self) -> None:
        """Holds nothing."""
