"""`llama-cpp`: language models in GGUF files, run in this process by llama.cpp.

One model and one context serve all sessions: their replies are made together, a step at a time, on one thread
(llama_scheduler.py). What has been computed of a session's history stays in the model for its next turn.
"""

import codecs
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Annotated

from msgspec import Meta

from pipeline.errors import EngineError, StageError
from pipeline.llm.chat_template import CHATML, ChatTemplate, TemplateError
from pipeline.llm.llama_batcher import Ended, Job, Stopped
from pipeline.llm.llama_native import Model, NativeError, Sampling
from pipeline.llm.llama_scheduler import Scheduler
from pipeline.llm.markup import MARKERS, MarkupFilter
from pipeline.llm.prompt import EncodedPrompt, PromptEncoder
from pipeline.stages import EngineOptions, LanguageModelCapabilities
from pipeline.types import Generated, GenerationRequest, Message, ModelOutput, Prompt
from pipeline.workers import CancelToken

DEFAULT_CONTEXT = 4096
MAX_SEQUENCES = 32
"""So that a step has room for a row of each and a slice of a prompt (llama_native.MAX_ROWS)."""


SMALL = 50_000_000
"""Weights below which threads wait for each other longer than they compute: with the built-in model on 2 cores, two
threads gain nothing on an idle machine, and on a busy one replies took up to 100 times as long."""


class LlamaCpp:
    """The engine: weights, and the thread that runs them."""

    class Options(EngineOptions, frozen=True, kw_only=True):
        """What can be set in models.yaml."""

        model: Annotated[str, Meta(description="`builtin`, or the path of a GGUF file.")] = "builtin"
        context: Annotated[
            Annotated[int, Meta(ge=64)] | None,
            Meta(
                description="Tokens that a session's prompt and reply may have together. "
                "Default: 4096, or what the model was trained for if that is less.",
            ),
        ] = None
        sequences: Annotated[
            int,
            Meta(
                ge=1,
                le=MAX_SEQUENCES,
                description="Replies made at the same time, and histories kept between turns. "
                "Each takes memory for `context` tokens.",
            ),
        ] = 4
        threads: Annotated[
            Annotated[int, Meta(ge=1)] | None, Meta(description="CPU threads. Default: one per core.")
        ] = None
        temperature: Annotated[float, Meta(ge=0, description="Randomness; 0 always takes the likeliest token.")] = 0.7
        top_k: Annotated[int, Meta(ge=0, description="Draw from the k likeliest tokens only; 0: from all.")] = 40
        top_p: Annotated[
            float, Meta(gt=0, le=1, description="Draw from the likeliest tokens that together reach this probability.")
        ] = 0.95
        min_p: Annotated[
            float, Meta(ge=0, le=1, description="Leave out tokens less likely than this part of the likeliest.")
        ] = 0.05
        seed: Annotated[
            Annotated[int, Meta(ge=0, lt=2**32)] | None,
            Meta(description="The same draws for the same prompt. Default: new ones each time."),
        ] = None
        max_tokens: Annotated[
            int, Meta(ge=1, description="Most tokens of a reply that asks for no limit of its own.")
        ] = 512

    def __init__(self, options: Options) -> None:
        """Loads the model.

        Raises:
            EngineError: the file is missing or not usable, or the options do not suit it.
        """
        self._options = options
        path = _locate(options.model)
        try:
            self._model = Model(path, shown=MARKERS)
        except NativeError as error:
            raise EngineError(
                f"{path} cannot be loaded: {error}.", "Download it again, or name another GGUF file.", "model"
            ) from error
        try:
            context = self._context_length()
            self._encoder = PromptEncoder(self._model.vocabulary, self._chat_template(path), context)
            self._scheduler = self._start(context)
        except EngineError:
            self._model.close()
            raise
        self._context = context
        self.capabilities = LanguageModelCapabilities(context=context)
        # Guards the vocabulary, which sessions use on their own threads: it is gone once the engine is closed.
        self._encoding = threading.Lock()
        self._closed = False

    def open(self) -> "LlamaCppStream":
        """Opens a session's stream."""
        return LlamaCppStream(self)

    def warm_up(self) -> None:
        """Makes a short reply, so that the weights are in memory and the buffers made."""
        stream = self.open()
        hello = GenerationRequest(Prompt((Message("user", "Hello."),)), max_tokens=2)
        for _ in stream.generate(hello, CancelToken()):
            pass
        stream.close()

    def close(self) -> None:
        """Ends the thread and frees the weights."""
        with self._encoding:
            if self._closed:
                return
            self._closed = True
        self._scheduler.close()
        self._model.close()

    def _context_length(self) -> int:
        trained = self._model.trained_context
        context = self._options.context
        if context is None:
            return min(DEFAULT_CONTEXT, trained)
        if context > trained:
            raise EngineError(
                f"A context of {context} tokens is more than the model was trained for.",
                f"Set it to {trained} or less.",
                "context",
            )
        return context

    def _chat_template(self, path: Path) -> ChatTemplate:
        vocabulary = self._model.vocabulary
        source = self._model.chat_template() or CHATML
        try:
            return ChatTemplate(source, bos=vocabulary.text(vocabulary.bos), eos=vocabulary.text(vocabulary.eos))
        except TemplateError as error:
            raise EngineError(
                f"The chat template in {path} cannot be read: {error}.", "Name another GGUF file.", "model"
            ) from error

    def _start(self, context: int) -> Scheduler:
        sequences = self._options.sequences
        threads = self._options.threads or (1 if self._model.weights < SMALL else _cores())
        try:
            return Scheduler(self._model, context=context, sequences=sequences, threads=threads)
        except NativeError as error:
            raise EngineError(
                f"{sequences} sequences of {context} tokens cannot be set up: {error}.",
                "Set `context` or `sequences` lower.",
                "context",
            ) from error

    @contextmanager
    def _in_use(self) -> Iterator[None]:
        with self._encoding:
            if self._closed:
                raise StageError("llm", "The language model has been shut down.")
            yield

    def _prepare(self, request: GenerationRequest, owner: object) -> tuple[Job, EncodedPrompt]:
        options = self._options
        limit = options.max_tokens if request.max_tokens is None else request.max_tokens
        with self._in_use():
            prompt = self._encoder.encode(request.prompt.messages, limit)
        sampling = Sampling(
            temperature=options.temperature if request.temperature is None else request.temperature,
            top_k=options.top_k,
            top_p=options.top_p,
            min_p=options.min_p,
            seed=secrets.randbits(32) if options.seed is None else options.seed,
        )
        limit = min(limit, self._context - len(prompt.tokens))
        return Job(owner, prompt.tokens, limit, sampling), prompt


class LlamaCppStream:
    """One session's hold on the model."""

    def __init__(self, engine: LlamaCpp) -> None:
        self._engine = engine

    def generate(self, request: GenerationRequest, cancel: CancelToken) -> Iterator[ModelOutput]:
        """Makes one reply; see `LanguageModelStream`. `output_tokens` counts reasoning too, if there is any.

        Raises:
            StageError: the newest message is too long, the model failed or has been shut down.
        """
        job, prompt = self._engine._prepare(request, self)
        cancel.on_cancel(job.stop)
        if cancel.cancelled:
            return
        try:
            self._engine._scheduler.submit(job)
            yield from _read(job, MarkupFilter(prompt.end))
        finally:
            job.stop()

    def close(self) -> None:
        """Stops the stream's replies and frees its sequences."""
        self._engine._scheduler.release(self)


def _read(job: Job, markup: MarkupFilter) -> Iterator[ModelOutput]:
    """Turns a job's outputs into text and calls, until it has ended or is stopped."""
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        output = job.outputs.get()
        match output:
            case bytes():
                yield from markup.feed(decoder.decode(output))
            case Ended():
                # A character that the limit cut in two is left out: the decoder is not asked for its rest.
                yield from markup.finish()
                yield Generated(output.reason, len(job.prompt), output.output, output.cached)
                return
            case StageError():
                raise output
            case Stopped():
                return


def _cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _locate(model: str) -> Path:
    """Returns the file that `model` means.

    Raises:
        EngineError: there is none, or it is no GGUF file.
    """
    path = _builtin() if model == "builtin" else Path(model).expanduser()
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise EngineError(f"{path} {what}.", "Give the path of a GGUF file, or `builtin`.", "model")
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise EngineError(f"{path} is not a GGUF file.", "Give the path of a GGUF file, or `builtin`.", "model")
    return path


def _builtin() -> Path:
    """The model that comes with the package: the one GGUF file in pipeline/llm/builtin."""
    folder = Path(str(resources.files("pipeline.llm") / "builtin"))
    found = sorted(folder.glob("*.gguf"))
    if len(found) != 1:
        raise EngineError(
            f"The built-in model is missing: {folder} holds {len(found)} GGUF files, not one.",
            "Install Parley again, or make it with scripts/train_builtin_model, or give the path of a GGUF file.",
            "model",
        )
    return found[0]
