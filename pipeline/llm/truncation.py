"""Which of a conversation's messages are left out when it is too long for the model."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from pipeline.errors import PromptTooLongError
from pipeline.images import image_tokens
from pipeline.types import Message, Tool, Truncation

LEAST_REPLY = 32
"""Tokens that must be left for a reply; a prompt that leaves fewer is refused."""

_BYTES_PER_TOKEN = 4
_TOKENS_AROUND = 4
"""OpenAI's rules of thumb: a token is about four letters of English, and each message has some more around it."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How tokens are counted. `prompt` counts a whole prompt with these messages left out, instructions and tools in
    it; `message` counts what one message says, without what the model's template puts around it.
    """

    prompt: Callable[[frozenset[int]], int]
    message: Callable[[Message], int]


def left_out(
    messages: Sequence[Message], truncation: Truncation, scale: Scale, context: int | None, reply: int | None
) -> frozenset[int]:
    """Returns the indices of the messages to leave out, so that up to `reply` tokens (but no more than a quarter of the
    context) fit behind the prompt.

    The oldest turns go first: a user's message with all that follows it up to the next, calls and their results among
    it. If that is not enough, the oldest calls of the newest turn go, with their results. System messages and what the
    user said last always stay.

    Under `auto` about a quarter of the context is cleared at a time, not just enough: the prompts of the next turns
    then begin alike, and what is computed of them can be kept. Under `retention_ratio` the ratio sees to that.

    Args:
        messages: the conversation, oldest first.
        truncation: what is wanted.
        scale: how tokens are counted.
        context: most tokens of prompt and reply together; None: it is not known, and nothing is too long for it.
        reply: tokens that the reply may have; None: no limit.

    Raises:
        PromptTooLongError: nothing may be left out, or what has to stay is too long.
    """
    if context is None and truncation.most_tokens is None:
        return frozenset()
    talk = _Talk(messages, scale)
    room = None if context is None else context - (context // 4 if reply is None else min(reply, context // 4))
    if truncation.mode == "disabled":
        if room is not None and talk.whole > room:
            raise _too_long(f"The conversation has {talk.whole} tokens with its instructions and tools", room)
        return frozenset()
    if truncation.mode == "retention_ratio":
        limits = (truncation.most_tokens, None if room is None else room - talk.fixed)
        allowed = max(0, min(limit for limit in limits if limit is not None))
        gone, tokens = talk.shortened(talk.turns_over(allowed, truncation.ratio), talk.fixed + allowed)
    else:
        assert context is not None
        assert room is not None
        gone, tokens = talk.shortened(talk.turns_in_steps(room, context // 4), room)
    most = None if context is None else context - min(LEAST_REPLY, context // 4)
    if most is not None and tokens > most:
        raise _too_long(f"The instructions, the tools and the newest message together have {tokens} tokens", most)
    return gone


def estimate(messages: Sequence[Message], tools: Sequence[Tool] = ()) -> int:
    """Returns about how many tokens a prompt has, for a model whose tokens are counted elsewhere."""
    described = sum(_tokens(tool.name, tool.description, repr(tool.parameters)) + _TOKENS_AROUND for tool in tools)
    return described + sum(estimate_of(message) for message in messages)


def estimate_of(message: Message) -> int:
    """Returns about how many tokens a message has."""
    calls = (call.name + call.arguments for call in message.calls)
    return _tokens(message.text, *calls) + sum(map(image_tokens, message.images)) + _TOKENS_AROUND


def _tokens(*texts: str) -> int:
    return sum(-(-len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN) for text in texts)


class _Talk:
    """A conversation as what can be left out of it: the indices of the messages of each turn, system messages apart."""

    def __init__(self, messages: Sequence[Message], scale: Scale) -> None:
        self._messages = messages
        self._scale = scale
        self._turns = _turns(messages)
        self.whole = scale.prompt(frozenset())
        """Tokens of all of it, instructions and tools included."""

    @cached_property
    def fixed(self) -> int:
        """Tokens of what always stays."""
        return self._scale.prompt(frozenset(index for turn in self._turns for index in turn))

    def turns_in_steps(self, room: int, step: int) -> int:
        """Returns how many of the oldest turns are expected to clear what is too much, rounded up to whole steps."""
        if self.whole <= room:
            return 0
        excess = -(-(self.whole - room) // step) * step
        sums = enumerate(accumulate(self._sizes()[:-1]), 1)
        return next((count for count, saved in sums if saved >= excess), max(0, len(self._turns) - 1))

    def turns_over(self, allowed: int, ratio: float) -> int:
        """Returns how many of the oldest turns are gone by now if, whenever the user had said something and the
        conversation had more than `allowed` tokens, the oldest went until it had no more than `ratio` of that.

        It is gone through from its beginning, so that what was once left out stays so without being remembered.
        """
        if self.whole - self.fixed <= allowed:
            return 0
        sizes = self._sizes()
        begin, total = 0, 0
        for end, (size, answer) in enumerate(zip(sizes, self._sizes(only_answers=True), strict=True)):
            total += size
            asked = total if end == len(sizes) - 1 else total - answer
            if asked > allowed:
                while begin < end and asked > ratio * allowed:
                    asked -= sizes[begin]
                    total -= sizes[begin]
                    begin += 1
        return begin

    def shortened(self, count: int, limit: int) -> tuple[frozenset[int], int]:
        """Leaves out the oldest `count` turns, and more while the prompt has more than `limit` tokens.

        Returns:
            The indices of the messages left out, and the tokens of the prompt without them.
        """
        droppable = self._turns[:-1] + (list(_steps(self._messages, self._turns[-1]))[:-1] if self._turns else [])
        gone = frozenset(index for unit in droppable[:count] for index in unit)
        tokens = self._scale.prompt(gone)
        for unit in droppable[count:]:
            if tokens <= limit:
                break
            gone |= set(unit)
            tokens = self._scale.prompt(gone)
        return gone, tokens

    def _sizes(self, *, only_answers: bool = False) -> list[int]:
        """Returns the tokens of each turn, or of what the model said in it; the template's own are shared out among the
        messages.
        """
        said = {index: self._scale.message(self._messages[index]) for turn in self._turns for index in turn}
        around = max(0, round((self.whole - self.fixed - sum(said.values())) / max(1, len(said))))
        if only_answers:
            said = {index: size for index, size in said.items() if self._messages[index].role != "user"}
        return [sum(said[index] + around for index in turn if index in said) for turn in self._turns]


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    turns: list[list[int]] = []
    for index, message in enumerate(messages):
        if message.role == "system":
            continue
        follows = bool(turns) and messages[turns[-1][-1]].role == "user" and message.role == "user"
        if not turns or (message.role == "user" and not follows):
            turns.append([])
        turns[-1].append(index)
    return turns


def _steps(messages: Sequence[Message], turn: list[int]) -> Iterator[list[int]]:
    """Yields what the model did in a turn: each of its messages, with the results of its calls."""
    step: list[int] = []
    for index in turn:
        if messages[index].role == "assistant":
            if step:
                yield step
            step = [index]
        elif messages[index].role == "tool" and step:
            step.append(index)
    if step:
        yield step


def _too_long(what: str, most: int) -> PromptTooLongError:
    problem = f"{what}, but no more than {most} fit into the model's context (`context` of the llm in models.yaml)."
    return PromptTooLongError("llm", problem, kind="invalid_request_error")
