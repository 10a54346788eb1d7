"""The stages of a turn as spans, from the moments that a Parley server tells."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from server.bench.turn import Turn


@dataclass(frozen=True, slots=True)
class Span:
    """A stage: what it is called, and from when to when it lasts, in milliseconds after the end of speech."""

    name: str
    start: float
    end: float


END: Final = "end of speech"
"""The moment from which all others are counted: when the last frame came that the server took for speech."""

SPANS: Final[tuple[tuple[str, tuple[str, ...], str], ...]] = (
    ("last prefill (a moment)", ("prefill",), "prefill"),
    ("voice detection", (END,), "voice"),
    ("endpointing: the silence", ("voice",), "committed"),
    ("transcription of the tail", ("quiet",), "words"),
    ("final transcript", ("committed",), "transcript"),
    ("waiting for the language model", ("run",), "begun"),
    ("language model to its first token", ("run", "begun"), "first_token"),
    ("to the first clause", ("first_token",), "first_clause"),
    ("speech to its first sound", ("first_clause",), "first_audio"),
    ("held until the turn is over", ("first_audio",), "released"),
    ("sent", ("released", "first_audio"), "sent"),
)
"""Each stage, the moments of `server.timings.STAGES` at the latest of which it begins, and the one at which it ends."""


def scale(spans: Iterable[Span]) -> tuple[float, float]:
    """Returns from where to where a drawing of these spans goes, in milliseconds. What lies far before the end of
    speech, such as a prefill, must not press the rest together: it is drawn at the edge.
    """
    every = list(spans)
    high = max([1.0, *(span.end for span in every)])
    return max(min([0.0, *(span.start for span in every)]), -high / 8), high


def spans(turns: Iterable[Turn]) -> list[Span]:
    """Returns the stages in the order of a turn, each from its median beginning to its median end.

    A turn in which a stage ended before it could begin did not have it: nothing is held of a reply that was made after
    the turn was over.
    """
    found: dict[str, list[tuple[float, float]]] = {name: [] for name, _, _ in SPANS}
    for turn in turns:
        if not turn.stages:
            continue
        moments = {END: 0.0, **turn.stages}
        for name, begins, end in SPANS:
            known = [moments[begin] for begin in begins if begin in moments]
            if known and end in moments and moments[end] >= max(known):
                found[name].append((max(known), moments[end]))
    return [
        Span(name, *(round(float(each), 1) for each in np.median(np.array(pairs), axis=0)))
        for name, pairs in found.items()
        if pairs
    ]
