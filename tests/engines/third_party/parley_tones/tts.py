"""Says letters as tones."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
from msgspec import Meta

from parley_tones import GAP_S, LETTERS, PITCHES, TONE_S, TonesEngine
from pipeline.errors import EngineError, StageError
from pipeline.stages import EngineOptions, SynthesizerCapabilities
from pipeline.types import Pcm16, SpeechRequest
from pipeline.workers import CancelToken

LEVELS = {"loud": 8000, "soft": 4000}


class Voice(TonesEngine):
    class Options(EngineOptions, frozen=True, kw_only=True):
        pitches: Annotated[str | None, Meta(description="JSON file: the hertz of the space and each letter.")] = None

    rate = 16_000
    concurrency = 4
    capabilities = SynthesizerCapabilities(tuple(LEVELS), frozenset({"en"}), speeds=(0.5, 2.0))

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._pitches = PITCHES if options.pitches is None else _read(Path(options.pitches))

    def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Pcm16]:
        self.check_open("tts")
        if request.voice is not None and request.voice not in LEVELS:
            raise StageError("tts", f"There is no voice {request.voice!r}.")
        slowest, fastest = self.capabilities.speeds
        speed = min(fastest, max(slowest, request.speed))
        for letter in request.text.lower():
            if cancel.cancelled:
                return
            if letter in self._pitches:
                yield self._tone(self._pitches[letter], LEVELS[request.voice or "loud"], speed)

    def _tone(self, hertz: float, level: int, speed: float) -> Pcm16:
        time = np.arange(round(self.rate * (TONE_S + GAP_S) / speed)) / self.rate
        return np.where(time < TONE_S / speed, level * np.sin(2 * np.pi * hertz * time), 0).astype(np.int16)


def _read(file: Path) -> dict[str, float]:
    try:
        return dict(zip(LETTERS, map(float, json.loads(file.read_text())), strict=True))
    except (OSError, ValueError) as error:
        mend = f"Give a JSON file with a list of {len(LETTERS)} numbers."
        raise EngineError(f"{file} holds no pitches: {error}.", mend, "pitches") from error
