"""A conversation → the tokens of a prompt that fits the model's context."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from types import MappingProxyType

from pipeline.errors import StageError
from pipeline.llm.chat_template import ChatTemplate, Part, TemplateError
from pipeline.llm.llama_native import Vocabulary
from pipeline.llm.llama_rows import Pictures, is_row
from pipeline.llm.markup import unclosed_reasoning
from pipeline.llm.truncation import Scale, left_out
from pipeline.types import AUTO, Message, Prompt, Truncation


@dataclass(frozen=True, slots=True)
class EncodedPrompt:
    """`tokens` of the whole prompt, and `end`, the text behind the last message that the reply continues.

    `left_out` are the indices of the messages for which there was no room.
    """

    tokens: list[int]
    end: str
    left_out: frozenset[int] = frozenset()


class PromptEncoder:
    """Renders and tokenises conversations. One thread at a time."""

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate, context: int) -> None:
        """`context` is the most tokens that prompt and reply may have together."""
        self._vocabulary = vocabulary
        self._template = template
        self._context = context
        # A turn repeats all but the newest messages of the one before.
        self._tokenize = lru_cache(1024)(self._tokenize_afresh)

    def encode(
        self,
        prompt: Prompt,
        reply: int,
        *,
        truncation: Truncation = AUTO,
        thinking: bool = False,
        opening: str = "",
        pictures: Pictures = MappingProxyType({}),
    ) -> EncodedPrompt:
        """Encodes a conversation so that up to `reply` tokens (but no more than a quarter of the context) fit behind.

        Args:
            prompt: the conversation, and the tools to be shown.
            reply: tokens that the reply may have.
            truncation: what becomes of a conversation that is too long; see truncation.py.
            thinking: whether the model is to think first. If not, and its template opens a block for it all the same,
                or cannot be told, an empty one is put in front of the reply.
            opening: text of the reply's beginning that the model need not write itself.
            pictures: the images of the conversation, as the model sees them.

        Raises:
            PromptTooLongError: what has to stay is too long.
        """
        messages = prompt.messages

        @lru_cache(None)
        def encode(left_out: frozenset[int]) -> EncodedPrompt:
            kept = tuple(message for index, message in enumerate(messages) if index not in left_out)
            return self._encode(Prompt(kept, prompt.tools), thinking, opening, pictures)

        def size(message: Message) -> int:
            return self._size(message) + sum(len(pictures[image].tokens) for image in message.images)

        scale = Scale(lambda left_out: len(encode(left_out).tokens), size)
        gone = left_out(messages, truncation, scale, self._context, reply)
        return replace(encode(gone), left_out=gone)

    def _size(self, message: Message) -> int:
        texts = (message.text.strip(), *(call.name + call.arguments for call in message.calls))
        return sum(len(self._tokenize(text, special=False, continues=True)) for text in texts)

    def _encode(self, prompt: Prompt, thinking: bool, opening: str, pictures: Pictures) -> EncodedPrompt:
        """Tokenises the prompt in the stretches that lie between the template's control tokens.

        Only those may be spelled out: what a message says is always plain text, even if it says `<|im_end|>`.
        """
        try:
            parts = self._template.render(prompt.messages, prompt.tools, thinking=thinking)
        except TemplateError as error:
            raise StageError("llm", str(error)) from error
        end = parts.pop().text if parts and not parts[-1].is_content else ""
        end += ("" if thinking else self._no_thoughts(end)) + opening
        if end:
            parts.append(Part(end, is_content=False))
        tokens: list[int] = []
        plain = ""
        for part in parts:
            if part.image is not None:
                self._add_plain(tokens, plain)
                tokens += pictures[part.image].tokens
                plain = ""
                continue
            start = None if part.is_content else self._first_markup(part.text)
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
        if is_row(tokens[-1]):
            raise StageError("llm", "The model's chat template has nothing behind the image, where the reply begins.")
        return EncodedPrompt(tokens, end)

    def _no_thoughts(self, end: str) -> str:
        """What keeps a model from thinking that was trained to: thoughts that are over before they begin."""
        if closing := unclosed_reasoning(end):
            return f"\n{closing}\n\n"
        if self._template.reasoning_tag == "<think>" and not self._template.has_switch and "</think>" not in end:
            return "<think>\n\n</think>\n\n"
        return ""

    def _add_plain(self, tokens: list[int], text: str) -> None:
        continues = bool(tokens) and not is_row(tokens[-1]) and not self._vocabulary.is_markup(tokens[-1])
        tokens += self._tokenize(text, special=False, continues=continues)

    def _first_markup(self, text: str) -> int | None:
        """Where a template's text spells its first control token or tag, if it does."""
        tokens = self._tokenize(text, special=True, continues=False)
        return min((text.find(tag) for tag in self._tags(tokens) if tag in text), default=None)

    def _tags(self, tokens: Sequence[int]) -> set[str]:
        return {self._vocabulary.text(token) for token in tokens if self._vocabulary.is_markup(token)}

    def _tokenize_afresh(self, text: str, *, special: bool, continues: bool) -> tuple[int, ...]:
        tokens = self._tokenize_run(text, special, continues)
        if special or not (tags := self._tags(tokens)):
            return tokens
        # Tags that are no control tokens are found in any text: here they are taken apart behind their first letter.
        joints = "|".join(f"(?<={re.escape(tag[0])})(?={re.escape(tag[1:])})" for tag in tags)
        taken_apart: tuple[int, ...] = ()
        for piece in re.split(joints, text):
            taken_apart += self._tokenize_afresh(piece, special=False, continues=continues or bool(taken_apart))
        return taken_apart

    def _tokenize_run(self, text: str, special: bool, continues: bool) -> tuple[int, ...]:
        tokenize = self._vocabulary.tokenize
        if continues and self._vocabulary.is_sentencepiece:
            # SentencePiece puts a space before a text; in the middle of one there is none. A newline takes it.
            start = tokenize("\n", special=False)
            tokens = tokenize("\n" + text, special=special)
            if tokens[: len(start)] == start:
                return tuple(tokens[len(start) :])
        return tuple(tokenize(text, special=special))
