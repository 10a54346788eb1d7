"""Small engines that do what a test tells them, and a line made of them.

Every engine has a `hook`, called on the engine's thread before each step with a cancel token: it may raise, or wait.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import numpy as np

from pipeline.errors import StageError
from pipeline.line import Line, Timeouts
from pipeline.slots import Slots
from pipeline.stages import LanguageModelCapabilities, Pause, SynthesizerCapabilities, TranscriberCapabilities
from pipeline.types import (
    Generated,
    GenerationRequest,
    ModelOutput,
    Pcm16,
    Samples,
    SpeechRequest,
    TextDelta,
    Transcript,
)
from pipeline.workers import CancelToken

Hook = Callable[[Any, CancelToken], None]

STILL: CancelToken = CancelToken()
"""For engines that are given no token: it is never cancelled."""


def no_hook(step: object, cancel: CancelToken) -> None:
    pass


class Gate:
    """A place where an engine waits until the test opens it, or the engine is told to stop."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        self._open.set()

    def wait(self, cancel: CancelToken) -> None:
        cancel.on_cancel(self._open.set)
        self.reached.set()
        self._open.wait(20)


class Engine:
    """What all fakes have in common."""

    Options: Any = None

    def warm_up(self) -> None:
        pass

    def close(self) -> None:
        pass


USUAL = Generated("stop", input_tokens=7, output_tokens=5, cached_tokens=2)


@dataclass
class FakeModel(Engine):
    """Says `outputs`, whatever it is asked; strings are text deltas. `hook` gets the index of each. `told` is what it
    was told ahead.
    """

    outputs: Sequence[str | ModelOutput] = ("Hello there. ", "How are you?")
    hook: Hook = no_hook
    capabilities = LanguageModelCapabilities(context=4096, prefills=True)
    told: list[GenerationRequest] = field(default_factory=list)
    requests: list[GenerationRequest] = field(default_factory=list)
    tokens: list[CancelToken] = field(default_factory=list)
    running: int = 0
    open_streams: int = 0
    generated: Generated | None = USUAL

    def open(self) -> Any:
        self.open_streams += 1
        return _FakeModelStream(self)


class _FakeModelStream:
    def __init__(self, model: FakeModel) -> None:
        self._model = model

    def generate(self, request: GenerationRequest, cancel: CancelToken) -> Iterator[ModelOutput]:
        model = self._model
        model.requests.append(request)
        model.tokens.append(cancel)
        model.running += 1
        try:
            for index, output in enumerate(model.outputs):
                model.hook(index, cancel)
                if cancel.cancelled:
                    return
                yield TextDelta(output) if isinstance(output, str) else output
            if model.generated is not None:
                yield model.generated
        finally:
            model.running -= 1

    def prefill(self, request: GenerationRequest) -> None:
        self._model.told.append(request)

    def close(self) -> None:
        self._model.open_streams -= 1


@dataclass
class FakeVoice(Engine):
    """Says each clause as `chunks` pieces of `samples` samples. `hook` gets (text, index of the piece)."""

    chunks: int = 2
    samples: int = 2_400
    rate: int = 24_000
    concurrency: int = 4
    hook: Hook = no_hook
    requests: list[SpeechRequest] = field(default_factory=list)
    tokens: list[CancelToken] = field(default_factory=list)
    running: int = 0
    capabilities = SynthesizerCapabilities(voices=("one", "two"), languages=frozenset({"en"}), speeds=(0.5, 1.5))

    def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Pcm16]:
        self.requests.append(request)
        self.tokens.append(cancel)
        self.running += 1
        try:
            for index in range(self.chunks):
                self.hook((request.text, index), cancel)
                if cancel.cancelled:
                    return
                yield np.full(self.samples, 1_000 + index, np.int16)
        finally:
            self.running -= 1


@dataclass
class FakeEars(Engine):
    """Understands `hear(sound)` of what it was fed. `hook` gets the name of the method that is called."""

    hear: Callable[[Pcm16], str] = lambda sound: "hello there"
    hook: Hook = no_hook
    capabilities = TranscriberCapabilities(languages=frozenset({"en"}), streaming=True)
    streams: "list[FakeEarsStream]" = field(default_factory=list)
    opened_with: list[tuple[str | None, str | None]] = field(default_factory=list)

    def open(self, language: str | None = None, prompt: str | None = None) -> "FakeEarsStream":
        self.hook("open", STILL)
        self.opened_with.append((language, prompt))
        self.streams.append(FakeEarsStream(self))
        return self.streams[-1]

    @property
    def open_streams(self) -> int:
        return sum(not stream.closed for stream in self.streams)


class FakeEarsStream:
    def __init__(self, ears: FakeEars) -> None:
        self._ears = ears
        self._sound: list[Pcm16] = []
        self._cancel = CancelToken()
        self.calls: list[str] = []

    @property
    def closed(self) -> bool:
        return self._cancel.cancelled

    def feed(self, samples: Pcm16) -> None:
        self._step("feed")
        self._sound.append(samples)

    def hypothesis(self) -> Transcript:
        self._step("hypothesis")
        return self._transcript()

    def finish(self) -> Transcript:
        self._step("finish")
        transcript = self._transcript()
        self._sound.clear()
        return transcript

    def discard(self) -> None:
        self._step("discard")
        self._sound.clear()

    def close(self) -> None:
        self._cancel.cancel()

    def _step(self, name: str) -> None:
        if self.closed:  # by another thread, between the worker's looking and its calling
            raise StageError("transcription", f"{name} of a stream that was closed")
        self.calls.append(name)
        self._ears.hook(name, self._cancel)

    def _transcript(self) -> Transcript:
        sound = np.concatenate([*self._sound, np.zeros(0, np.int16)])
        text = self._ears.hear(sound)
        return Transcript(text, tokens=len(text.split()))


@dataclass
class FakeDetector(Engine):
    """Hears a voice in every frame whose loudest sample is above 0.1. `hook` gets the number of frames."""

    frame: int = 512
    hook: Hook = no_hook
    batches: list[int] = field(default_factory=list)
    states: int = 0

    def open(self) -> list[float]:
        self.states += 1
        return []

    def detect(self, batch: Sequence[tuple[Any, Samples]]) -> list[float]:
        self.batches.append(len(batch))
        self.hook(len(batch), STILL)
        assert len({id(state) for state, _ in batch}) == len(batch)
        assert all(len(frame) == self.frame for _, frame in batch)
        return [float(np.abs(frame).max() > 0.1) for _, frame in batch]


@dataclass
class FakePauseJudge(Engine):
    """Says how much silence ends a turn: the most that the client allows, or `silence_ms`."""

    silence_ms: int | None = None
    reads: frozenset[Literal["sound", "words"]] = frozenset()
    hook: Hook = no_hook
    pauses: list[Pause] = field(default_factory=list)

    def assess(self, pause: Pause, cancel: CancelToken) -> int:
        self.pauses.append(pause)
        self.hook("assess", cancel)
        return pause.most_ms if self.silence_ms is None else self.silence_ms


def pause_judge(**settings: Any) -> FakePauseJudge:
    """Returns one that listens, so that sessions begin with `semantic_vad`; it ends turns after 500 ms."""
    return FakePauseJudge(**{"silence_ms": 500, "reads": frozenset({"sound"}), **settings})


def fake_line(
    *,
    llm: FakeModel | None = None,
    tts: FakeVoice | None = None,
    transcription: FakeEars | None = None,
    vad: FakeDetector | None = None,
    endpointing: FakePauseJudge | None = None,
    timeout: float = 5.0,
    clause_streaming: bool = True,
) -> Line:
    """Returns a line of fakes; `timeout`, in seconds, is that of every stage."""
    transcription, llm, tts = transcription or FakeEars(), llm or FakeModel(), tts or FakeVoice()
    return Line(
        name="fake",
        config=cast(Any, None),
        vad=vad or FakeDetector(),
        endpointing=endpointing or FakePauseJudge(),
        transcription=transcription,
        llm=llm,
        tts=tts,
        timeouts=Timeouts(vad=timeout, endpointing=timeout, transcription=timeout, llm=timeout, tts=timeout),
        transcription_slots=Slots(transcription.capabilities.concurrency),
        llm_slots=Slots(llm.capabilities.concurrency),
        tts_slots=Slots(tts.concurrency),
        clause_streaming=clause_streaming,
    )
