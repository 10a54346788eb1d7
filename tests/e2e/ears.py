"""PocketSphinx in the test's own process: what a whole recording says, without a server in between."""

from functools import cache
from typing import Any

from pipeline.transcription.pocketsphinx import PocketSphinx


@cache
def _engine() -> PocketSphinx:
    return PocketSphinx(PocketSphinx.Options())


def hear(samples: Any) -> str:
    """Returns what the decoder makes of int16 at 16 kHz, with the options of the engine."""
    stream = _engine().open()
    try:
        stream.feed(samples)
        return stream.finish().text
    finally:
        stream.close()
