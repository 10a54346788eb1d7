"""What a model writes, token by token → the text and the calls of its reply."""

import codecs
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

from pipeline.errors import StageError
from pipeline.llm.calls.bare import BareCalls
from pipeline.llm.calls.forms import CallForm, ForcedCalls
from pipeline.llm.llama_batcher import Ended, Job
from pipeline.llm.markup import MarkupFilter, Visible
from pipeline.llm.stop_strings import StopStrings
from pipeline.types import Generated, ModelOutput, TextDelta

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Calls:
    """What calls a reply may have: of the tools in `names`, in a `form`; several if there may be `many`.

    If they are `forced`, the reply is nothing else, and begins behind the form's opening.
    """

    names: frozenset[str]
    form: CallForm
    many: bool
    forced: bool


class _Forced:
    """A reply that a grammar has made."""

    def __init__(self, calls: Calls) -> None:
        self._reader = ForcedCalls(calls.form)
        self._many = calls.many

    @property
    def is_over(self) -> bool:
        return self._reader.finished > 0 and not self._many

    def feed(self, text: str) -> Iterable[Visible]:
        return self._reader.feed(text)

    def finish(self, cut: bool) -> Iterable[Visible]:
        if not cut and not self._reader.finished:
            raise StageError("llm", "The model could not make the call that it was asked for.")
        return ()


class _Free:
    """A reply in which the model says and calls what it likes: the calls come whole."""

    def __init__(self, prompt_end: str, calls: Calls, stops: Sequence[str]) -> None:
        self._calls = calls
        self._markup = MarkupFilter(prompt_end)
        self._bare = BareCalls() if calls.names and calls.form.is_bare else None
        self._stops = StopStrings(stops)
        self._is_plain = not stops and self._bare is None
        self._count = 0

    @property
    def is_over(self) -> bool:
        return self._stops.hit or (self._count > 0 and not self._calls.many)

    def feed(self, text: str) -> Iterable[Visible]:
        outputs = self._markup.feed(text)
        if self._is_plain and all(isinstance(output, TextDelta) for output in outputs):
            return outputs  # as a rule, and for each token
        return self._checked(outputs)

    def finish(self, cut: bool) -> Iterable[Visible]:
        yield from self._checked(self._markup.finish())
        if held := self._stops.finish():
            yield TextDelta(held)

    def _checked(self, outputs: Sequence[Visible]) -> Iterator[Visible]:
        for output in outputs:
            decided = self._bare.feed(output.text) if self._bare and isinstance(output, TextDelta) else [output]
            for each in decided:
                if not self.is_over:
                    yield from self._passed(each)

    def _passed(self, output: Visible) -> Iterator[Visible]:
        """What remains of an output: text up to a stop string, and calls of tools that there are."""
        if isinstance(output, TextDelta):
            if shown := self._stops.feed(output.text):
                yield TextDelta(shown)
        elif output.name not in self._calls.names:
            log.info("the model called `%s`, which it was not offered", output.name)
        else:
            if held := self._stops.finish():
                yield TextDelta(held)
            yield replace(output, index=self._count)
            self._count += 1


_Reader: TypeAlias = _Forced | _Free


def read_reply(job: Job, prompt_end: str, calls: Calls, stops: Sequence[str]) -> Iterator[ModelOutput]:
    """Yields a reply until it has ended or is stopped.

    A call that is forced comes in pieces, so that the limit may end it in the middle: `Generated.reason` is
    `max_tokens` then, and the last call's arguments are not whole. Any other call comes in one piece or not at all.

    Args:
        job: what is being made.
        prompt_end: the end of the prompt, which the reply continues.
        calls: what calls it may have.
        stops: strings of the text at which it ends.

    Raises:
        StageError: the reply failed.
    """
    reader: _Reader = _Forced(calls) if calls.forced else _Free(prompt_end, calls, stops)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    tokens = 0
    while True:
        output = job.outputs.get()
        if job.stopped:
            return  # even if the end is there already: nobody wants it
        match output:
            case bytes():
                tokens += 1
                yield from reader.feed(decoder.decode(output))
                if reader.is_over:
                    job.stop()
                    yield Generated("stop", len(job.prompt), tokens, job.cached)
                    return
            case Ended():
                # A character that the limit cut in two is left out: the decoder is not asked for its rest.
                yield from reader.finish(output.reason == "max_tokens")
                yield Generated(output.reason, len(job.prompt), output.output, job.cached)
                return
            case StageError():
                raise output
