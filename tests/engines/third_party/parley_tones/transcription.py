"""Writes down the letters of tones."""

from typing import Annotated

import numpy as np
from msgspec import Meta

from parley_tones import LONGEST, STEP, TonesEngine, letter_of
from pipeline.errors import StageError
from pipeline.stages import EngineOptions, TranscriberCapabilities
from pipeline.types import Pcm16, Transcript


class Ear(TonesEngine):
    class Options(EngineOptions, frozen=True, kw_only=True):
        level: Annotated[int, Meta(ge=1, le=32767, description="How loud a tone must be.")] = 1000

    capabilities = TranscriberCapabilities(languages=frozenset({"en"}), streaming=True, partial_s=0.5)

    def open(self, language: str | None = None, prompt: str | None = None, word_times: bool = False) -> "_Stream":
        return _Stream(self)


class _Stream:
    def __init__(self, engine: Ear) -> None:
        self._engine = engine
        self._closed = False
        self.discard()

    def feed(self, samples: Pcm16) -> None:
        self._check_open()
        samples = np.concatenate((self._rest, samples))
        whole = len(samples) // STEP * STEP
        self._rest = samples[whole:]
        steps = samples[:whole].reshape(-1, STEP)
        for step, level in zip(steps, np.abs(steps.astype(np.int32)).max(axis=1), strict=True):
            if level >= self._engine.options.level:
                self._tone = [*self._tone[-LONGEST:], step]
            elif self._tone:
                self._text, self._tone = self._text + letter_of(self._tone), []

    def hypothesis(self) -> Transcript:
        self._check_open()
        text = (self._text + letter_of(self._tone)).strip()
        return Transcript(text, tokens=len(text.split()), language="en")

    def finish(self) -> Transcript:
        transcript = self.hypothesis()
        self.discard()
        return transcript

    def discard(self) -> None:
        self._text = ""
        self._tone: list[Pcm16] = []
        self._rest = np.zeros(0, np.int16)

    def close(self) -> None:
        self._closed = True

    def _check_open(self) -> None:
        self._engine.check_open("transcription")
        if self._closed:
            raise StageError("transcription", "The stream has been closed.")
