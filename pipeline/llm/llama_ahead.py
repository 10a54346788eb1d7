"""Prompts that are computed before they are complete, while nobody needs the model for a reply.

All of this belongs to one thread (llama_scheduler.py) and needs no locks.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from pipeline.llm.llama_memory import Memory
from pipeline.llm.llama_native import Context, DecodeError, Slice

log = logging.getLogger(__name__)

AHEAD_ROWS = 16
"""Rows in a step: what a reply that is asked for meanwhile waits for at most. There is time enough while somebody
speaks, so the speed that small slices cost does not matter."""


@dataclass(eq=False)
class Prefill:
    """What the prompt of an owner's next reply will begin with.

    `encode` returns its tokens, none if there is nothing to compute. It is called once, when there is time for it: most
    partial transcripts are replaced by the next before.
    """

    owner: object
    encode: Callable[[], list[int]]
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
        pending = tokens[start : start + AHEAD_ROWS]
        try:
            if pending:
                self._context.decode([Slice(sequence.id, start, pending, False)])
                sequence.tokens += pending
        except DecodeError as error:
            log.warning("a prompt could not be computed ahead: %s", error)
            self._memory.undo(sequence)
            return False
        finally:
            self._memory.give_back(sequence)
        return start + len(pending) < len(tokens)
