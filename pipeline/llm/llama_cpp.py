"""`llama-cpp`: language models in GGUF files, run in this process by llama.cpp.

One model and one context serve all sessions: their replies are made together, a step at a time, on one thread
(llama_scheduler.py). What has been computed of a session's history stays in the model for its next turn.
"""

import logging
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Literal, TypeVar, get_args

from msgspec import Meta

from pipeline.device import Place, cores, load_on
from pipeline.errors import EngineError, StageError
from pipeline.llm.llama_ahead import ENDINGS, Prefill, going_on
from pipeline.llm.llama_batcher import Job
from pipeline.llm.llama_cache import CacheOptions, CacheType
from pipeline.llm.llama_calls import CallPlanner
from pipeline.llm.llama_devices import check_cuda, cuda_device
from pipeline.llm.llama_files import locate
from pipeline.llm.llama_memory import common_prefix
from pipeline.llm.llama_native import MAX_ROWS, Model, NativeError
from pipeline.llm.llama_reply import Calls, read_reply
from pipeline.llm.llama_rows import Picture, Pictures, by_number, is_row
from pipeline.llm.llama_sampling import Sampling
from pipeline.llm.llama_scheduler import Scheduler
from pipeline.llm.llama_template import template_of
from pipeline.llm.llama_vision import Vision, load_projector, see_all, seen
from pipeline.llm.markup import MARKERS, REASONING, WITHIN_CALLS
from pipeline.llm.prompt import EncodedPrompt, PromptEncoder
from pipeline.stages import EngineOptions, LanguageModelCapabilities, RequestSetting
from pipeline.types import Generated, GenerationRequest, Message, ModelOutput, Prompt
from pipeline.workers import CancelToken

T = TypeVar("T")

log = logging.getLogger(__name__)

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

        model: Annotated[
            str,
            Meta(
                description="`builtin`, the path of a GGUF file, or hf:OWNER/REPOSITORY:FILE.gguf. "
                "Of a model in several files, the first.",
            ),
        ] = "builtin"
        projector: Annotated[
            str | None,
            Meta(
                description="Lets the model see: the projector for images that belongs to it (mmproj), the path of a "
                "GGUF file or hf:OWNER/REPOSITORY:FILE.gguf."
            ),
        ] = None
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
        parking: Annotated[
            int,
            Meta(
                ge=0,
                description="MiB of memory for the histories of sessions that are not heard for a while, when there "
                "are more of them than `sequences`: copied back when they go on, not computed again.",
            ),
        ] = 512
        threads: Annotated[
            Annotated[int, Meta(ge=1, le=256)] | None, Meta(description="CPU threads. Default: one per core.")
        ] = None
        gpu_layers: Annotated[
            Annotated[int, Meta(ge=0)] | None,
            Meta(description="Layers that the GPU computes, where `device` comes to CUDA. Default: all."),
        ] = None
        flash_attention: Annotated[
            Literal["auto", "on", "off"],
            Meta(
                description="Attention in one pass, which needs less memory. `auto`: where the model can. Only with it "
                "(on the CPU, see also `kv_type`) is a reply at temperature 0 the same whatever else is being made.",
            ),
        ] = "auto"
        kv_type: Annotated[
            CacheType,
            Meta(
                description="How what is computed of a history is kept. q8_0 takes about half the memory of f16, q4_0 "
                "a quarter; values of a q type need flash attention. `auto`: f16, but keys as q8_0 where several "
                "threads of the CPU compute with flash attention: with f16 for both, a long history is attended to "
                "in other steps by one reply alone than by several, and ends may differ.",
            ),
        ] = "auto"
        k_type: Annotated[CacheType | None, Meta(description="`kv_type` for the keys alone.")] = None
        v_type: Annotated[CacheType | None, Meta(description="`kv_type` for the values alone.")] = None
        chat_template: Annotated[
            str | None,
            Meta(description="A Jinja chat template, or the path of one. Default: the model's own."),
        ] = None
        thinking: Annotated[
            bool,
            Meta(
                description="Let reasoning models think before they reply. Thoughts are not spoken, but the listener "
                "waits for them, and they count as output. A call that has to be made is made without.",
            ),
        ] = False
        temperature: Annotated[float, Meta(ge=0, description="Randomness; 0 always takes the likeliest token.")] = 0.7
        top_k: Annotated[int, Meta(ge=0, description="Draw from the k likeliest tokens only; 0: from all.")] = 40
        top_p: Annotated[
            float, Meta(gt=0, le=1, description="Draw from the likeliest tokens that together reach this probability.")
        ] = 0.95
        min_p: Annotated[
            float, Meta(ge=0, le=1, description="Leave out tokens less likely than this part of the likeliest.")
        ] = 0.05
        repeat_penalty: Annotated[
            float,
            Meta(
                gt=0,
                le=10,
                description="Makes the tokens less likely that the reply has had lately; 1: no penalty. "
                "No penalty applies to a call that has to be made.",
            ),
        ] = 1.0
        repeat_last_n: Annotated[
            int, Meta(ge=0, le=65536, description="How many of the reply's last tokens count for penalties.")
        ] = 64
        presence_penalty: Annotated[
            float, Meta(ge=-2, le=2, description="Taken off the logit of a token that has come, once.")
        ] = 0.0
        frequency_penalty: Annotated[
            float, Meta(ge=-2, le=2, description="Taken off the logit of a token for each time that it has come.")
        ] = 0.0
        seed: Annotated[
            Annotated[int, Meta(ge=0, lt=2**32)] | None,
            Meta(description="The same draws for the same prompt. Default: new ones each time."),
        ] = None
        max_tokens: Annotated[
            int, Meta(ge=1, description="Most tokens of a reply that asks for no limit of its own.")
        ] = 512
        stop: Annotated[
            tuple[Annotated[str, Meta(min_length=1)], ...],
            Meta(
                max_length=16,
                description="Strings that end a reply and are not shown, besides the model's own end tokens.",
            ),
        ] = ()

    devices = ("cpu", "cuda")

    def __init__(self, options: Options) -> None:
        """Loads the model.

        Raises:
            EngineError: the file is missing or not usable, or the options do not suit it.
        """
        self._options = options
        self._cache = CacheOptions(options.kv_type, options.k_type, options.v_type, options.flash_attention)
        self._cache.check()
        path = locate(options.model)
        self._vision: Vision | None = None
        (self._model, self._scheduler, self._context), place = load_on(
            options.device, lambda place: self._load(path, place), check_cuda
        )
        self.device = f"cuda ({cuda_device()})" if place == "cuda" else "cpu"
        try:
            if options.device == "cpu" and options.gpu_layers:
                raise EngineError("The CPU computes, so no layers go to a GPU.", "Leave it out.", "gpu_layers")
            self._template = template_of(self._model, path, options.chat_template)
            self._encoder = PromptEncoder(self._model.vocabulary, self._template, self._context)
        except EngineError:
            self._scheduler.close()
            self._free()
            raise
        self._calls = CallPlanner(self._model.vocabulary, self._template)
        self.capabilities = LanguageModelCapabilities(
            context=self._context,
            tools=True,
            forced_calls=True,
            vision=self._vision is not None,
            reasoning=self._can_think(),
            heeds=frozenset(get_args(RequestSetting)),
            prefills=True,
            concurrency=options.sequences,
        )
        # Guards the vocabulary, which sessions use on their own threads: it is gone once the engine is closed.
        self._encoding = threading.Lock()
        self._closed = False

    def open(self) -> "LlamaCppStream":
        """Opens a session's stream."""
        return LlamaCppStream(self)

    def warm_up(self) -> None:
        """Makes a short reply, so that the weights are in memory and the buffers made.

        Raises:
            EngineError: the chat template or the model does not work.
        """
        stream = self.open()
        hello = GenerationRequest(Prompt((Message("user", "Hello."),)), max_tokens=2)
        try:
            for _ in stream.generate(hello, CancelToken()):
                pass
        except StageError as error:
            option = "model" if self._options.chat_template is None else "chat_template"
            raise EngineError(error.problem, "Correct it, or choose another one.", option) from error
        finally:
            stream.close()

    def close(self) -> None:
        """Ends the thread and frees the weights."""
        with self._encoding:
            if self._closed:
                return
            self._closed = True
        self._scheduler.close()
        self._calls.forget()
        self._free()

    def _load(self, path: Path, place: Place) -> tuple[Model, Scheduler, int]:
        """Loads the weights, and makes room for the sequences. On CUDA a `NativeError` means that it is at fault."""
        every = -1 if self._options.gpu_layers is None else self._options.gpu_layers
        try:
            model = Model(path, MARKERS | WITHIN_CALLS, None if place == "cpu" else every)
        except NativeError as error:
            if place == "cuda" and _loads(path):
                raise
            raise EngineError(
                f"{path} cannot be loaded: {error}.", "Download it again, or name another GGUF file.", "model"
            ) from error
        try:
            context = self._context_length(model)
            if self._options.projector is not None:
                self._vision = load_projector(self._options.projector, model, self._threads(model))
            return model, self._start(model, context, place), context
        except Exception:
            self._model = model
            self._free()
            raise

    def _free(self) -> None:
        if self._vision is not None:
            self._vision.close()
        self._model.close()

    def _threads(self, model: Model) -> int:
        return self._options.threads or (1 if model.weights < SMALL else cores())

    def _context_length(self, model: Model) -> int:
        trained = model.trained_context
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

    def _can_think(self) -> bool:
        known = self._template.has_switch or self._template.reasoning_tag is not None
        return known or any(self._model.vocabulary.single(tag) is not None for tag in REASONING)

    def _start(self, model: Model, context: int, place: Place) -> Scheduler:
        sequences = self._options.sequences
        threads = self._threads(model)
        start = partial(
            Scheduler,
            model,
            context=context,
            sequences=sequences,
            threads=threads,
            parking=self._options.parking * 2**20,
            rows=self._vision.most_rows if self._vision else MAX_ROWS,
        )
        try:
            return self._cache.start(start, shared=place == "cpu" and threads > 1)
        except NativeError as error:
            if place == "cuda":
                raise
            if "cache" in str(error):
                raise EngineError(
                    f"The model does not take this way to keep its history: {error}.", "Set it to f16.", "kv_type"
                ) from error
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

    def _prepare(
        self, request: GenerationRequest, owner: object, pictures: Pictures | None = None
    ) -> tuple[Job, EncodedPrompt, Calls]:
        """Returns a reply to make. `pictures` are its images as the model sees them; None: it has to look at them."""
        limit = self._options.max_tokens if request.max_tokens is None else request.max_tokens
        thinking = self._options.thinking if request.thinking is None else request.thinking
        if pictures is None:
            pictures = see_all(self._vision, request.prompt.messages)
        with self._in_use():
            tools, calls, grammar = self._calls.plan(request)
            prompt = self._encoder.encode(
                Prompt(request.prompt.messages, tools),
                limit,
                truncation=request.truncation,
                thinking=thinking and not calls.forced,
                opening=calls.form.opening if calls.forced else "",
                pictures=pictures,
            )
        limit = min(limit, self._context - len(prompt.tokens))
        return (
            Job(
                owner,
                prompt.tokens,
                limit,
                self._sampling(request, calls.forced),
                grammar,
                by_number(pictures),
            ),
            prompt,
            calls,
        )

    def _beginning(self, request: GenerationRequest, rows: dict[int, Picture] | None = None) -> list[int]:
        """Returns the tokens with which the prompt begins however the newest message goes on, if that is the user's, or
        whatever the user says next; none if there is no such prompt, or its images have not been seen: then they are
        from now on. Adds the images to `rows`, by number.
        """
        pictures = seen(self._vision, request.prompt.messages)
        if pictures is None:
            return []
        if rows is not None:
            rows |= by_number(pictures)
        try:
            one, other = (self._prepare(going_on(request, ending), None, pictures)[0].prompt for ending in ENDINGS)
        except StageError as error:
            log.debug("nothing to compute ahead: %s", error)
            return []
        return one[: common_prefix(one, other)]

    def _sampling(self, request: GenerationRequest, forced: bool) -> Sampling:
        options = self._options
        seed = _given(request.seed, options.seed)
        return Sampling(
            temperature=_given(request.temperature, options.temperature),
            top_k=options.top_k,
            top_p=_given(request.top_p, options.top_p),
            min_p=options.min_p,
            seed=secrets.randbits(32) if seed is None else seed % 2**32,
            repeat_penalty=1.0 if forced else options.repeat_penalty,
            repeat_last_n=options.repeat_last_n,
            presence_penalty=0.0 if forced else _given(request.presence_penalty, options.presence_penalty),
            frequency_penalty=0.0 if forced else _given(request.frequency_penalty, options.frequency_penalty),
        )


class LlamaCppStream:
    """One session's hold on the model."""

    def __init__(self, engine: LlamaCpp) -> None:
        self._engine = engine
        self._closed = False

    def prefill(self, request: GenerationRequest) -> None:
        """Begins to compute the prompt of a reply to come; see `PrefillingStream`."""
        if not self._closed:
            rows: dict[int, Picture] = {}
            self._engine._scheduler.prefill(Prefill(self, partial(self._engine._beginning, request, rows), rows))

    def generate(self, request: GenerationRequest, cancel: CancelToken) -> Iterator[ModelOutput]:
        """Makes one reply; see `LanguageModelStream`. `output_tokens` counts reasoning too, if there is any.

        Raises:
            StageError: the newest message is too long, the model failed or has been shut down.
        """
        job, prompt, calls = self._engine._prepare(request, self)
        cancel.on_cancel(job.stop)
        if cancel.cancelled:
            return
        try:
            self._engine._scheduler.submit(job)
            for output in read_reply(job, prompt.end, calls, (*self._engine._options.stop, *request.stop)):
                yield _counted(output, prompt) if isinstance(output, Generated) else output
        finally:
            job.stop()

    def close(self) -> None:
        """Stops the stream's replies and frees its sequences."""
        self._closed = True
        self._engine._scheduler.release(self)


def _counted(generated: Generated, prompt: EncodedPrompt) -> Generated:
    return replace(generated, left_out=prompt.left_out, image_tokens=sum(map(is_row, prompt.tokens)))


def _given(asked: T | None, otherwise: T) -> T:
    return otherwise if asked is None else asked


def _loads(path: Path) -> bool:
    """Whether the CPU can load a file that CUDA could not."""
    try:
        Model(path).close()
    except NativeError:
        return False
    return True
