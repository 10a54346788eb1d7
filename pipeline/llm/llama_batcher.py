"""Decodes many replies together: what goes into the next step.

All of this belongs to one thread (llama_scheduler.py) and needs no locks.
"""

import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Literal

from pipeline.errors import StageError
from pipeline.llm.llama_ahead import Ahead, Prefill
from pipeline.llm.llama_memory import LEAST_SAVED, Memory, Sequence, common_prefix
from pipeline.llm.llama_native import MAX_ROWS, Context, DecodeError, Slice, Vocabulary
from pipeline.llm.llama_rows import Picture, decode_rows, is_row, next_rows, position, text_before_rows
from pipeline.llm.llama_sampling import Grammar, Sampler, Sampling

log = logging.getLogger(__name__)

PREFILL_ROWS = 32
"""Rows of prompt in a step in which replies are also being made: what a newcomer may delay them by."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The last output of a reply. Counts are in tokens; `output` is without the one that ends the reply."""

    reason: Literal["stop", "max_tokens"]
    output: int


class Stopped:
    """Put into the outputs when a reply is no longer wanted, to wake whoever reads them."""


@dataclass(eq=False)
class Job:
    """One reply to make. `outputs` gets the reply's tokens as bytes, one by one, then `Ended` or an error.

    `cached` is how many tokens of the prompt needed no computing: known when the first output is there. `pictures` are
    the images of which the prompt has rows, by number.
    """

    owner: object
    prompt: list[int]
    limit: int
    sampling: Sampling
    grammar: Grammar | None = None
    pictures: Mapping[int, Picture] = field(default_factory=dict)
    cached: int = 0
    outputs: "SimpleQueue[bytes | Ended | StageError | Stopped]" = field(default_factory=SimpleQueue)
    stopped: bool = False

    def stop(self) -> None:
        """Ends the job, from any thread: whoever reads the outputs wakes, and no step after this one is made for it."""
        self.stopped = True
        self.outputs.put(Stopped())


@dataclass(eq=False)
class _Reply:
    """A job that has its sequence. `pending` are the tokens that it holds next: of the prompt, or the one drawn.

    `waits` for another to compute the beginning that both have.
    """

    job: Job
    sequence: Sequence
    pending: list[int]
    sampler: Sampler
    count: int = 0
    waits: bool = False


class Batcher:
    """Makes all replies that are under way, one step at a time; the other jobs wait in line for a sequence."""

    def __init__(self, context: Context, vocabulary: Vocabulary, memory: Memory) -> None:
        self._context = context
        self._vocabulary = vocabulary
        self._memory = memory
        self._waiting: deque[Job] = deque()
        self._replies: list[_Reply] = []
        self._ahead = Ahead(context, memory)

    @property
    def busy(self) -> bool:
        """Whether there is anything to do."""
        return bool(self._replies or self._waiting or self._ahead)

    def add(self, job: Job) -> None:
        self._ahead.drop(job.owner)
        self._waiting.append(job)

    def prefill(self, prefill: Prefill) -> None:
        """Computes the beginning of a prompt when no reply is being made."""
        self._ahead.add(prefill)

    def release(self, owner: object) -> None:
        """Stops an owner's jobs and empties the owner's sequences."""
        self._ahead.drop(owner)
        for job in self._jobs():
            if job.owner is owner:
                job.stop()
        self._drop_stopped()
        self._memory.release(owner)

    def step(self) -> None:
        """Drops what is no longer wanted, admits who waits and there is room for, and decodes once."""
        self._drop_stopped()
        self._admit()
        if plan := self._plan():
            self._decode(plan)
        if (reply := self._next_looker()) is not None:
            self._decode_rows(reply)
        elif not plan:
            self._ahead.step()

    def _decode(self, plan: list[tuple[_Reply, Slice]]) -> None:
        slices = [piece for _, piece in plan]
        try:
            rows = self._context.decode(slices)
        except DecodeError as error:
            log.warning("%s; trying the %d sequences one by one", error, len(slices))
            self._decode_apart(plan)
            return
        for (reply, piece), row in zip(plan, rows, strict=True):
            self._advance(reply, piece, row)

    def fail(self, problem: str) -> None:
        """Ends all jobs with an error."""
        for job in self._jobs():
            job.outputs.put(StageError("llm", problem))
        self._waiting.clear()
        for reply in list(self._replies):
            self._end(reply)

    def _jobs(self) -> list[Job]:
        return [reply.job for reply in self._replies] + list(self._waiting)

    def _drop_stopped(self) -> None:
        self._waiting = deque(job for job in self._waiting if not job.stopped)
        for reply in [reply for reply in self._replies if reply.job.stopped]:
            self._end(reply)

    def _admit(self) -> None:
        while self._waiting:
            job = self._waiting[0]
            sequence = self._memory.take(job.owner, job.prompt)
            if sequence is None:
                return
            self._waiting.popleft()
            sampler = Sampler(job.sampling, self._vocabulary, job.grammar)
            self._replies.append(_Reply(job, sequence, [], sampler))
            self._set_out(self._replies[-1])

    def _set_out(self, reply: _Reply) -> None:
        """Continues where what is known of the prompt ends."""
        reply.waits = False
        reply.job.cached = len(reply.sequence.tokens)
        reply.pending = reply.job.prompt[reply.job.cached :]

    def _plan(self) -> list[tuple[_Reply, Slice]]:
        """What each reply contributes to the next decode: one token each, and of new prompts what there is room for."""
        ready = [
            reply for index, reply in enumerate(self._replies) if not self._must_wait(reply, self._replies[:index])
        ]
        # Counted after that: of a prompt that has been copied a single token may be left.
        writing = sum(len(reply.pending) == 1 for reply in ready)
        room = min(PREFILL_ROWS, MAX_ROWS - writing) if writing else MAX_ROWS
        plan = []
        for reply in ready:
            size = 1 if len(reply.pending) == 1 else text_before_rows(reply.pending, min(room, len(reply.pending)))
            if size == 0:
                continue
            if len(reply.pending) > 1:
                room -= size
            sequence = reply.sequence
            start = position(sequence.tokens)
            piece = Slice(sequence.id, start, reply.pending[:size], size == len(reply.pending))
            plan.append((reply, piece))
        # Only neighbours by id are decoded in one pass, see `Context`.
        return sorted(plan, key=lambda item: item[1].sequence)

    def _must_wait(self, reply: _Reply, earlier: list[_Reply]) -> bool:
        """Whether an earlier reply is computing what this one's prompt goes on with: it is copied when it is there."""
        if len(reply.pending) <= LEAST_SAVED:
            return False
        ahead = len(reply.sequence.tokens) + LEAST_SAVED
        if any(
            len(other.sequence.tokens) < (shared := common_prefix(other.job.prompt, reply.job.prompt))
            and shared >= ahead
            and len(other.pending) > 1
            for other in earlier
        ):
            reply.waits = True
            return True
        if reply.waits:
            self._memory.fetch(reply.sequence, reply.job.prompt)
            self._set_out(reply)
        return False

    def _next_looker(self) -> _Reply | None:
        """The reply whose prompt goes on with rows of an image: of several the one that was asked for first."""
        return next((reply for reply in self._replies if not reply.waits and is_row(reply.pending[0])), None)

    def _decode_rows(self, reply: _Reply) -> None:
        """Decodes rows of an image, which cannot be in one decode with tokens: other replies take turns with them."""
        most = PREFILL_ROWS if len(self._replies) > 1 else MAX_ROWS
        sequence = reply.sequence
        rows = next_rows(sequence.id, sequence.tokens, reply.pending, reply.job.pictures, most)
        try:
            decode_rows(self._context, rows)
        except DecodeError as error:
            self._memory.empty(sequence)
            reply.job.outputs.put(StageError("llm", f"The model could not look at the image: {error}."))
            self._end(reply)
            return
        sequence.tokens += rows.tokens
        del reply.pending[: len(rows.tokens)]

    def _decode_apart(self, plan: list[tuple[_Reply, Slice]]) -> None:
        """Decodes each slice by itself, so that one that cannot be decoded fails alone."""
        for reply, piece in plan:
            # The failed decode may have added this slice already, or a part of it.
            if not self._memory.undo(reply.sequence):
                reply.job.outputs.put(StageError("llm", "The model lost the conversation when a step failed."))
                self._end(reply)
                continue
            try:
                [row] = self._context.decode([piece])
            except DecodeError as error:
                self._memory.empty(reply.sequence)
                reply.job.outputs.put(StageError("llm", f"The model could not continue the reply: {error}."))
                self._end(reply)
                continue
            self._advance(reply, piece, row)

    def _advance(self, reply: _Reply, piece: Slice, row: int) -> None:
        """Notes what has been decoded, and draws the next token if the prompt is through."""
        reply.sequence.tokens += piece.tokens
        del reply.pending[: len(piece.tokens)]
        if reply.pending:
            return
        token = reply.sampler.sample(self._context, row)
        if token is None or self._vocabulary.is_end(token):
            self._finish(reply, "stop")
            return
        reply.count += 1
        reply.pending = [token]
        reply.job.outputs.put(self._vocabulary.piece(token))
        if reply.count >= reply.job.limit:
            self._finish(reply, "max_tokens")

    def _finish(self, reply: _Reply, reason: Literal["stop", "max_tokens"]) -> None:
        reply.job.outputs.put(Ended(reason, reply.count))
        self._end(reply)

    def _end(self, reply: _Reply) -> None:
        self._replies.remove(reply)
        reply.sampler.close()
        self._memory.give_back(reply.sequence)
