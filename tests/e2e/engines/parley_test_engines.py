"""Engines for tests, found by entry points as a third party's would be: they are slow, or go wrong, on demand."""

import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from pipeline.stages import EngineOptions, LanguageModelCapabilities, SynthesizerCapabilities
from pipeline.types import Generated, GenerationRequest, SpeechRequest, TextDelta
from pipeline.workers import CancelToken


def _misbehave(stage: str, text: str) -> None:
    """Does what the text says of this stage: `llm raise`, `tts hang`, …"""
    if f"{stage} raise" in text:
        raise RuntimeError("as it was told to")
    if f"{stage} hang" in text:
        time.sleep(6)


class Echo:
    """Says back what the user said last, word by word; `repeat N` makes N sentences of it, and `recall` what it said
    itself before that.
    """

    class Options(EngineOptions, frozen=True, kw_only=True):
        pass

    capabilities = LanguageModelCapabilities(context=4096)

    def __init__(self, options: Options) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def open(self) -> "Echo":
        return self

    def generate(self, request: GenerationRequest, cancel: CancelToken) -> Iterator[TextDelta | Generated]:
        said = request.prompt.messages[-1].text
        _misbehave("llm", said)
        times = int(found[1]) if (found := re.search(r"repeat (\d+)", said)) else 1
        words = f"You said {said}. ".split(" ") * times
        if said.startswith("recall"):
            words = [message.text for message in request.prompt.messages if message.role == "assistant"][-1].split(" ")
        for word in words:
            if cancel.cancelled:
                return
            yield TextDelta(word + " ")
        yield Generated("stop", input_tokens=10, output_tokens=len(words))


class Beeper:
    """Beeps in real time: 100 ms of tone every 100 ms, as long as the text would take to say."""

    class Options(EngineOptions, frozen=True, kw_only=True):
        pass

    rate = 24_000
    concurrency = 8
    capabilities = SynthesizerCapabilities(voices=("beep",), languages=frozenset({"en"}))

    def __init__(self, options: Options) -> None:
        pass

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass

    def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Any]:
        _misbehave("tts", request.text)
        tone = (8000 * np.sin(np.arange(2400) * 2 * np.pi * 440 / self.rate)).astype(np.int16)
        for _ in range(len(request.text) // 2):
            if cancel.cancelled:
                return
            yield tone
            time.sleep(0.1)
