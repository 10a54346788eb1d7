"""Says what it was told."""

from collections.abc import Iterator
from typing import Annotated

from msgspec import Meta

from parley_tones import TonesEngine
from pipeline.errors import PromptTooLongError, StageError
from pipeline.stages import EngineOptions, LanguageModelCapabilities
from pipeline.types import Generated, GenerationRequest, ModelOutput, TextDelta
from pipeline.workers import CancelToken


class Parrot(TonesEngine):
    class Options(EngineOptions, frozen=True, kw_only=True):
        context: Annotated[int, Meta(ge=10, description="Most words of a message.")] = 1000

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self.capabilities = LanguageModelCapabilities(context=options.context)

    def open(self) -> "_Stream":
        return _Stream(self)


class _Stream:
    def __init__(self, engine: Parrot) -> None:
        self._engine = engine
        self._closed = False

    def generate(self, request: GenerationRequest, cancel: CancelToken) -> Iterator[ModelOutput]:
        self._engine.check_open("llm")
        text = request.prompt.messages[-1].text if request.prompt.messages else ""
        heard = text.encode("utf-8", "replace").decode().split()  # half a character cannot be said
        if len(heard) > self._engine.options.context:
            raise PromptTooLongError("llm", f"A parrot remembers {self._engine.options.context} words.")
        words = ["You", "said", *heard][: request.max_tokens]
        for word in words:
            if cancel.cancelled:
                return
            if self._closed:
                raise StageError("llm", "The stream has been closed.")
            yield TextDelta(f"{word} ")
        if not cancel.cancelled:
            whole = len(words) == 2 + len(heard)
            yield Generated("stop" if whole else "max_tokens", input_tokens=len(heard), output_tokens=len(words))

    def close(self) -> None:
        self._closed = True
