"""Prompts that are computed before they are complete, while nobody needs the model for a reply.

All of this belongs to one thread (llama_scheduler.py) and needs no locks.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from pipeline.llm.llama_memory import Memory
from pipeline.llm.llama_native import Context, DecodeError, Slice
from pipeline.llm.llama_rows import Picture, decode_rows, is_row, next_rows, position, text_before_rows
from pipeline.types import GenerationRequest, Message

log = logging.getLogger(__name__)

ENDINGS = (" so", ", or")
"""Two ways in which a message may go on: what comes before is in the prompt whichever it is."""

AHEAD_ROWS = 16
"""Rows in a step: what a reply that is asked for meanwhile waits for at most. There is time enough while somebody
speaks, so the speed that small slices cost does not matter."""


@dataclass(eq=False)
class Prefill:
    """What the prompt of an owner's next reply will begin with.

    `encode` returns its tokens, none if there is nothing to compute. It is called once, when there is time for it: most
    partial transcripts are replaced by the next before. `pictures` are the images of which the tokens have rows, by
    number: known when `encode` has been called.
    """

    owner: object
    encode: Callable[[], list[int]]
    pictures: Mapping[int, Picture] = field(default_factory=dict)
    tokens: list[int] | None = None


class Ahead:
    """The prefills that wait: the newest of each owner, in the order in which the owners came.

    A prefill holds no sequence between its steps: what it has computed is in the owner's sequence, where the owner's
    next prefill or reply finds it. So there is nothing to undo when it is dropped.
    """

    def __init__(self, context: Context, memory: Memory) -> None:
        self._context = context
        self._memory = memory
        self._waiting: dict[object, Prefill] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, prefill: Prefill) -> None:
        """Puts a prefill in line, in the place of the owner's last one if that is not through."""
        self._waiting[prefill.owner] = prefill

    def drop(self, owner: object) -> None:
        self._waiting.pop(owner, None)

    def step(self) -> None:
        """Computes a slice of the prefill that is first in line."""
        prefill = next(iter(self._waiting.values()), None)
        if prefill is not None and not self._advance(prefill):
            del self._waiting[prefill.owner]

    def _advance(self, prefill: Prefill) -> bool:
        """Returns whether there is more of it to compute. Without a sequence to be had it is given up: the next partial
        transcript comes soon.
        """
        anew = prefill.tokens is None
        if prefill.tokens is None:
            try:
                prefill.tokens = prefill.encode()
            except Exception:  # replies would fail if this thread did; the reply to come tells what is wrong
                log.warning("a prompt could not be encoded ahead", exc_info=True)
                return False
        tokens = prefill.tokens
        sequence = self._memory.take_ahead(prefill.owner, tokens, anew=anew) if tokens else None
        if sequence is None:
            return False
        start = len(sequence.tokens)
        pending = tokens[start:]
        try:
            if pending and is_row(pending[0]):
                rows = next_rows(sequence.id, sequence.tokens, pending, prefill.pictures, AHEAD_ROWS)
                decode_rows(self._context, rows)
                sequence.tokens += rows.tokens
            elif pending:
                piece = pending[: text_before_rows(pending, min(AHEAD_ROWS, len(pending)))]
                self._context.decode([Slice(sequence.id, position(sequence.tokens), piece, False)])
                sequence.tokens += piece
        except DecodeError as error:
            log.warning("a prompt could not be computed ahead: %s", error)
            self._memory.undo(sequence)
            return False
        finally:
            self._memory.give_back(sequence)
        return len(sequence.tokens) < len(tokens)


def going_on(request: GenerationRequest, ending: str) -> GenerationRequest:
    """A request in which the user's newest message goes on; a new one, if the newest is not the user's."""
    messages = request.prompt.messages
    if messages and messages[-1].role == "user":
        newest = replace(messages[-1], text=messages[-1].text.rstrip() + ending)
        return replace(request, prompt=replace(request.prompt, messages=(*messages[:-1], newest)))
    return replace(request, prompt=replace(request.prompt, messages=(*messages, Message("user", ending))))
