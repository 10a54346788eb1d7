"""A conversation → the tokens of a prompt that fits the model's context."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from pipeline.errors import PromptTooLongError, StageError
from pipeline.llm.chat_template import ChatTemplate, TemplateError
from pipeline.llm.llama_native import Vocabulary
from pipeline.types import Message

LEAST_REPLY = 32
"""Tokens that must be left for a reply; a prompt that leaves fewer is refused."""


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """`tokens` of the whole prompt, and `end`, the template's text behind the last message."""

    tokens: list[int]
    end: str


class PromptEncoder:
    """Renders and tokenises conversations. One thread at a time."""

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate, context: int) -> None:
        """`context` is the most tokens that prompt and reply may have together."""
        self._vocabulary = vocabulary
        self._template = template
        self._context = context
        # A turn repeats all but the newest messages of the one before.
        self._tokenize = lru_cache(1024)(self._tokenize_afresh)

    def encode(self, messages: Sequence[Message], reply: int) -> EncodedPrompt:
        """Encodes a conversation so that up to `reply` tokens (but no more than a quarter of the context) fit behind.

        If it is too long, the oldest turns are left out: a user's message with all that follows it up to the next.
        System messages and the newest turn always stay. About a quarter of the context is cleared at a time, not
        just enough: the prompts of the next turns then begin alike, and what is computed of them can be kept.

        Raises:
            PromptTooLongError: what has to stay is too long.
        """
        whole = self._encode(messages)
        room = self._context - min(reply, self._context // 4)
        if len(whole.tokens) <= room:
            return whole
        for kept in self._shortened(messages, len(whole.tokens), room):
            shorter = self._encode(kept)
            if len(shorter.tokens) <= room:
                return shorter
        most = self._context - min(LEAST_REPLY, self._context // 4)
        if len(shorter.tokens) <= most:
            return shorter
        raise PromptTooLongError(
            "llm",
            f"The instructions and the newest message together have {len(shorter.tokens)} tokens, "
            f"but no more than {most} fit into the model's context (`context` of the llm in models.yaml).",
        )

    def _shortened(self, messages: Sequence[Message], total: int, room: int) -> list[list[Message]]:
        """Returns what remains with more and more turns left out, beginning where it is expected to fit."""
        turns = _turns(messages)
        sizes = [sum(len(self._content(messages[index].text)) for index in turn) for turn in turns]
        spoken = max(1, sum(sizes))
        step = self._context // 4
        excess = -(-(total - room) // step) * step
        candidates = []
        dropped: set[int] = set()
        saved = 0.0
        for turn, size in zip(turns[:-1], sizes, strict=False):
            dropped |= set(turn)
            saved += size * total / spoken  # the template's own tokens are shared out
            if saved >= excess:
                candidates.append([message for index, message in enumerate(messages) if index not in dropped])
        last = set(turns[-1]) if turns else set()
        candidates.append([m for index, m in enumerate(messages) if m.role == "system" or index in last])
        return candidates

    def _content(self, text: str) -> tuple[int, ...]:
        return self._tokenize(text.strip(), special=False, continues=True)

    def _encode(self, messages: Sequence[Message]) -> EncodedPrompt:
        """Tokenises the prompt in the stretches that lie between the template's control tokens.

        Only those may be spelled out: what a message says is always plain text, even if it says `<|im_end|>`.
        """
        try:
            parts = self._template.render(messages)
        except TemplateError as error:
            raise StageError("llm", str(error)) from error
        tokens: list[int] = []
        plain = ""
        for part in parts:
            start = None if part.is_content else self._first_control(part.text)
            if start is None:
                plain += part.text
                continue
            self._add_plain(tokens, plain + part.text[:start])
            rest = part.text[start:]
            plain = ""
            if rest.endswith(" ") and part is not parts[-1]:
                # Tokenisers join a space to the word behind it.
                rest, plain = rest[:-1], " "
            tokens += self._tokenize(rest, special=True, continues=False)
        self._add_plain(tokens, plain)
        if self._vocabulary.adds_bos and tokens[:1] != [self._vocabulary.bos]:
            tokens.insert(0, self._vocabulary.bos)
        if not tokens:
            raise StageError("llm", "The model's chat template makes nothing of this conversation.")
        return EncodedPrompt(tokens, "" if not parts or parts[-1].is_content else parts[-1].text)

    def _add_plain(self, tokens: list[int], text: str) -> None:
        continues = bool(tokens) and not self._vocabulary.is_control(tokens[-1])
        tokens += self._tokenize(text, special=False, continues=continues)

    def _first_control(self, text: str) -> int | None:
        """Where a template's text spells its first control token, if it does."""
        tokens = self._tokenize(text, special=True, continues=False)
        spellings = {self._vocabulary.text(token) for token in tokens if self._vocabulary.is_control(token)}
        return min((text.find(spelling) for spelling in spellings if spelling in text), default=None)

    def _tokenize_afresh(self, text: str, *, special: bool, continues: bool) -> tuple[int, ...]:
        tokenize = self._vocabulary.tokenize
        if continues and self._vocabulary.is_sentencepiece:
            # SentencePiece puts a space before a text; in the middle of one there is none. A newline takes it.
            start = tokenize("\n", special=False)
            tokens = tokenize("\n" + text, special=special)
            if tokens[: len(start)] == start:
                return tuple(tokens[len(start) :])
        return tuple(tokenize(text, special=special))


def _turns(messages: Sequence[Message]) -> list[list[int]]:
    """The indices of the messages of each turn, oldest first, system messages apart."""
    turns: list[list[int]] = []
    for index, message in enumerate(messages):
        if message.role == "system":
            continue
        follows = bool(turns) and messages[turns[-1][-1]].role == "user" and message.role == "user"
        if not turns or (message.role == "user" and not follows):
            turns.append([])
        turns[-1].append(index)
    return turns
