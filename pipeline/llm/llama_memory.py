"""What the model remembers: which sequence holds whose tokens, and what is kept of them outside the model.

What begins like something that has been computed already is copied, not computed again. llama.cpp's own copy between
sequences is no help: with memory of their own (see `Context`) it takes whole sequences only, aborts the process for
parts, and moves all cells that a sequence has room for, used or not. So a copy goes through the host: the state of
one sequence is saved, restored in another, and what is too much of it is trimmed. That costs about 1/70 of computing
it (`python -m scripts.measure_llm`), works from a sequence that is in the middle of a reply, and gives the same bits.

The same way a history is parked when its sequence is taken from its owner, and comes back when the owner goes on.

All of this belongs to one thread (llama_scheduler.py) and needs no locks.
"""

import logging
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from pipeline.llm.llama_native import Context, NativeError
from pipeline.llm.llama_rows import ends_in_tile, position

log = logging.getLogger(__name__)

COPY_COST = 1 / 32
"""What copying a token costs, in tokens computed: measured 1/70 with Qwen3-0.6B on 2 cores; on the safe side."""

COPY_COST_GPU = 1 / 4
"""The same where the GPU computes: computing is fast there, and the copy goes through the host. Not measured."""

LEAST_SAVED = 24
"""Tokens that a copy must save: below, its fixed costs are not worth it."""

LITTLE = 64
"""Tokens of a history that may be lost without taking care of them."""

PARKED_OF_ONE = 4
"""Histories that an owner may have parked: the spoken one, and of what was said beside it the longest."""


@dataclass(eq=False)
class Sequence:
    """A sequence of the context: the tokens it holds, whose they are, and when it was last used.

    The first `prompt` of the tokens are worth keeping: the prompt of a reply, or what two prefills in a row had in
    common. `told` means that it has been prefilled for a reply that is still to come.
    """

    id: int
    tokens: list[int] = field(default_factory=list)
    prompt: int = 0
    owner: object = None
    used: int = 0
    busy: bool = False
    told: bool = False


@dataclass(eq=False)
class Parked:
    """A history outside the model."""

    owner: object
    tokens: list[int]
    state: NDArray[Any]


class Shelf:
    """Histories outside the model, up to a number of bytes: those parked first make way."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.entries: list[Parked] = []

    def has_room(self, size: int) -> bool:
        """Whether `size` bytes can be parked at all."""
        return size <= self._limit

    def put(self, parked: Parked) -> None:
        """Parks a history that there `has_room` for."""
        own = [entry for entry in self.entries if entry.owner is parked.owner]
        old = [entry for entry in own if len(entry.tokens) - common_prefix(entry.tokens, parked.tokens) <= LITTLE]
        if not old and len(own) == PARKED_OF_ONE:
            old = [min(own, key=lambda entry: len(entry.tokens))]
        for entry in old:
            self.entries.remove(entry)
        self.entries.append(parked)
        while sum(entry.state.nbytes for entry in self.entries) > self._limit:
            self.entries.pop(0)

    def release(self, owner: object) -> None:
        self.entries = [entry for entry in self.entries if entry.owner is not owner]


class Memory:
    """Which prompt gets which sequence, and how much of the prompt that holds already."""

    def __init__(self, context: Context, sequences: int, *, parking: int = 0) -> None:
        """`parking` is the most bytes of histories that are kept outside the model."""
        self._context = context
        self._all = [Sequence(id) for id in range(sequences)]
        self._shelf = Shelf(parking)
        self._copy_cost = COPY_COST_GPU if context.on_gpu else COPY_COST
        self._clock = 0

    def take(self, owner: object, prompt: list[int]) -> Sequence | None:
        """Returns an idle sequence for a reply, holding as much of the prompt as is known; None when all are busy.

        The last token of the prompt is always left to be computed: its logits are where the reply starts.
        """
        sequence = self._choose(owner, prompt, for_reply=True)
        if sequence is None:
            return None
        self._lend(sequence, owner)
        self._shorten_to(sequence, prompt, len(prompt) - 1)
        self.fetch(sequence, prompt)
        sequence.prompt, sequence.told = len(prompt), False
        return sequence

    def take_ahead(self, owner: object, prompt: list[int], *, anew: bool) -> Sequence | None:
        """Returns an idle sequence for what a prompt will begin with, holding as much of it as is known, and possibly
        more: a prompt that is shorter by chance costs nothing. None if there is none. `anew`: it is the first time for
        this prompt.

        Another owner's history makes way only if it can be parked and is not waiting for its own reply.
        """
        sequence = self._choose(owner, prompt, for_reply=False)
        if sequence is None:
            return None
        self._lend(sequence, owner)
        if common_prefix(sequence.tokens, prompt) < len(prompt):
            self._shorten_to(sequence, prompt, len(prompt))
            self.fetch(sequence, prompt)
            if anew:
                sequence.prompt = len(sequence.tokens)
        sequence.told = True
        return sequence

    def fetch(self, sequence: Sequence, prompt: list[int]) -> None:
        """Copies the beginning of the prompt into its sequence, if it is known elsewhere and that costs less than to
        compute it.
        """
        sources: list[Sequence | Parked] = [other for other in self._all if other is not sequence and other.tokens]
        sources += self._shelf.entries
        saved, source = max(
            ((self._saving(source, sequence, prompt), source) for source in sources),
            key=lambda each: each[0],
            default=(0.0, None),
        )
        if source is None or saved < LEAST_SAVED:
            return
        state = source.state if isinstance(source, Parked) else self._save(source)
        if state is None:
            return
        tokens = list(source.tokens)
        if isinstance(source, Parked) and source.owner is sequence.owner:
            self._shelf.entries.remove(source)  # it has come home
        sequence.tokens = tokens if self._context.restore(sequence.id, state) else []
        self._shorten_to(sequence, prompt, len(prompt) - 1)

    def give_back(self, sequence: Sequence) -> None:
        """Makes a sequence idle; it keeps its tokens until somebody else needs it."""
        self._clock += 1
        sequence.busy, sequence.used = False, self._clock

    def release(self, owner: object) -> None:
        """Forgets all that an owner has."""
        for sequence in self._all:
            if sequence.owner is owner:
                self.empty(sequence)
        self._shelf.release(owner)

    def undo(self, sequence: Sequence) -> bool:
        """Forgets what a decode that failed may have added to a sequence. Returns whether it has its tokens still."""
        if ends_in_tile(sequence.tokens):
            self._context.clear(sequence.id)
        elif self._context.trim(sequence.id, position(sequence.tokens)):
            return True
        sequence.tokens.clear()
        return False

    def empty(self, sequence: Sequence) -> None:
        self._context.clear(sequence.id)
        sequence.tokens, sequence.prompt, sequence.owner, sequence.told = [], 0, None, False

    def _lend(self, sequence: Sequence, owner: object) -> None:
        self._clock += 1
        sequence.owner, sequence.busy, sequence.used = owner, True, self._clock

    def _shorten_to(self, sequence: Sequence, prompt: list[int], most: int) -> None:
        """Forgets what a sequence holds beyond the first `most` tokens of a prompt: all if it cannot go back."""
        length = min(common_prefix(sequence.tokens, prompt), most)
        if length < len(sequence.tokens) and not self._context.trim(sequence.id, position(sequence.tokens[:length])):
            length = 0
        del sequence.tokens[length:]

    def _choose(self, owner: object, prompt: list[int], *, for_reply: bool) -> Sequence | None:
        """Returns the idle sequence that is to hold a prompt; what is of worth in it has been parked.

        That is the owner's own if little of worth in it is lost; else an empty one. If there is none, an owner's
        history makes way for what the owner says beside it, and only for an owner without any that of another, the one
        idle the longest.
        """
        idle = [sequence for sequence in self._all if not sequence.busy]
        own = [sequence for sequence in idle if sequence.owner is owner]
        best = max(own, key=lambda sequence: common_prefix(sequence.tokens, prompt), default=None)
        if best is not None:
            shared = common_prefix(best.tokens, prompt)
            lost = 0 if shared == len(prompt) and not for_reply else best.prompt - shared
            if lost <= min(LITTLE, best.prompt // 2):
                return best
        empty = next((sequence for sequence in idle if not sequence.tokens), None)
        if empty is not None:
            return empty
        usable = sorted((sequence for sequence in idle if for_reply or not sequence.told), key=lambda each: each.used)
        for chosen in [min(own, key=lambda sequence: sequence.prompt)] if own else usable:
            is_kept = self._park(chosen)
            if is_kept or for_reply:
                return chosen
        return None

    def _saving(self, source: Sequence | Parked, sequence: Sequence, prompt: list[int]) -> float:
        """How many tokens' computing it saves to copy a source."""
        shared = min(common_prefix(source.tokens, prompt), len(prompt) - 1)
        if shared < len(source.tokens) and not self._context.rewinds:
            return 0.0
        return shared - len(sequence.tokens) - self._copy_cost * len(source.tokens)

    def _park(self, sequence: Sequence) -> bool:
        """Keeps what a sequence holds outside the model. Returns whether nothing of worth is lost now."""
        worth = len(sequence.tokens) if sequence.told else sequence.prompt
        if worth < LEAST_SAVED:
            return True
        if not self._shelf.has_room(self._context.state_size(sequence.id)):
            return False
        state = self._save(sequence)
        if state is None:
            return False
        self._shelf.put(Parked(sequence.owner, list(sequence.tokens), state))
        return True

    def _save(self, sequence: Sequence) -> NDArray[Any] | None:
        try:
            return self._context.save(sequence.id)
        except (NativeError, MemoryError) as error:
            log.warning("a history cannot be kept outside the model: %s", error)
            return None


def common_prefix(left: list[int], right: list[int]) -> int:
    """How many tokens two sequences share from their beginning."""
    shorter = min(len(left), len(right))
    if left[:shorter] == right[:shorter]:
        return shorter
    return next(index for index in range(shorter) if left[index] != right[index])
