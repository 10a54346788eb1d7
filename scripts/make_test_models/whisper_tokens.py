"""The tokens of a small Whisper: byte pairs of its sentences, and every special token that Whisper has."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

LANGUAGES = ("en", "de")

_TEXT_TOKENS = 480
"""256 bytes, and pairs of them up to whole words: the words of the sentences take one or two tokens each."""

_FIRST_SPECIAL = ("<|endoftext|>", "<|startoftranscript|>")
_LAST_SPECIAL = (
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
_MULTILINGUAL = ""
"""The last of Whisper's text tokens where it knows several languages: CTranslate2 tells by it that it does."""

TIMESTAMPS = 1501
"""From 0 to 30 s in steps of 20 ms."""


class Tokens:
    """The ids of the special tokens, and text to ids."""

    def __init__(self, texts: Iterable[str], languages: Sequence[str] = LANGUAGES, text_tokens: int = 0) -> None:
        """Finds the byte pairs of some texts; tokens that nobody says are added until there are `text_tokens`."""
        self.tokenizer = _tokenizer(texts, languages, text_tokens)
        name = self.tokenizer.token_to_id
        self.end, self.start = name("<|endoftext|>"), name("<|startoftranscript|>")
        self.transcribe, self.previous = name("<|transcribe|>"), name("<|startofprev|>")
        self.no_speech, self.no_timestamps = name("<|nospeech|>"), name("<|notimestamps|>")
        self.languages = {language: name(f"<|{language}|>") for language in languages}
        self.size = self.tokenizer.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def timestamp(self, seconds: float) -> int:
        return self.no_timestamps + 1 + min(TIMESTAMPS - 1, max(0, round(seconds / 0.02)))

    def vocabulary(self) -> list[str]:
        """Returns the entries of CTranslate2's vocabulary, in the order of their ids."""
        return sorted(self.tokenizer.get_vocab(), key=self.tokenizer.get_vocab().__getitem__)

    def suppressed(self) -> list[int]:
        """Returns what is never part of a text."""
        return [self.start, self.transcribe, self.previous, self.no_speech]

    def suppressed_first(self) -> list[int]:
        """Returns what a text does not begin with: a space alone, and its end."""
        return [*self.encode(" "), self.end]


def _tokenizer(texts: Iterable[str], languages: Sequence[str], text_tokens: int) -> Tokenizer:
    split = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = split
    trainer = trainers.BpeTrainer(vocab_size=_TEXT_TOKENS - 1, initial_alphabet=split.alphabet(), show_progress=False)
    trained.train_from_iterator(texts, trainer)
    pairs = json.loads(trained.to_str())["model"]
    names = [*pairs["vocab"]]
    names += [f"<|unused_{number}|>" for number in range(text_tokens - len(names) - 1)] + [_MULTILINGUAL]
    vocabulary = {name: number for number, name in enumerate(names)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[tuple(merge) for merge in pairs["merges"]]))
    tokenizer.pre_tokenizer = split
    tokenizer.decoder = decoders.ByteLevel()
    special = (*_FIRST_SPECIAL, *(f"<|{language}|>" for language in languages), *_LAST_SPECIAL)
    tokenizer.add_special_tokens([AddedToken(name, special=True, normalized=False) for name in special])
    stamps = (f"<|{step * 0.02:.2f}|>" for step in range(TIMESTAMPS))
    tokenizer.add_tokens([AddedToken(stamp, normalized=False) for stamp in stamps])
    return tokenizer
