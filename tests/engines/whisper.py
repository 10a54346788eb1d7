"""The engine `faster-whisper` on the weights in tests/weights, and what its tests have in common."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pipeline.errors import EngineError
from pipeline.transcription.faster_whisper import FasterWhisper
from pipeline.types import Pcm16, Transcript
from tests.speech import UNDERSTOOD

WEIGHTS = Path(__file__).parents[1] / "weights" / "whisper-tiny"
KNOWN = (*UNDERSTOOD, "count to ten", "what is the capital of france", "tell me a joke", "what time is it")


def make(**options: Any) -> FasterWhisper:
    return FasterWhisper(msgspec.convert({"model": str(WEIGHTS), "device": "cpu", **options}, FasterWhisper.Options))


class Spy:
    """Watches the jobs that an engine gives to CTranslate2."""

    def __init__(self, engine: FasterWhisper, patch: pytest.MonkeyPatch) -> None:
        self.frames: list[int] = []
        self.decoded = 0
        self.beam_sizes: set[int] = set()
        self.before_encoding: Callable[[], None] = lambda: None
        encode, generate = engine._reader._model.encode, engine._reader._model.model.generate

        def watch_encode(features: Any) -> Any:
            self.before_encoding()
            self.frames.append(features.shape[-1])
            return encode(features)

        def watch_generate(*args: Any, **kwargs: Any) -> Any:
            self.decoded += 1
            self.beam_sizes.add(kwargs["beam_size"])
            return generate(*args, **kwargs)

        patch.setattr(engine._reader._model, "encode", watch_encode)
        patch.setattr(engine._reader._model, "model", _Watched(engine._reader._model.model, watch_generate))


class _Watched:
    """A model of CTranslate2's, whose methods cannot be replaced, with another `generate`."""

    def __init__(self, model: Any, generate: Callable[..., Any]) -> None:
        self._model = model
        self.generate = generate

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


def transcribe(engine: FasterWhisper, sound: Pcm16, **asked: Any) -> Transcript:
    stream = engine.open(**asked)
    stream.feed(sound)
    return stream.finish()


def refused(option: str, **options: Any) -> str:
    with pytest.raises(EngineError) as caught:
        make(**options)
    assert caught.value.option == option
    return str(caught.value)
