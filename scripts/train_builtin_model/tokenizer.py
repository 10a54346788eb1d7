"""A byte-level BPE tokenizer in which a word falls apart in the same way wherever it stands.

A small model copies a name from a request into a reply or a call: ` anna` becomes ` Anna` or `Anna`. That is easy if
all of them have the same pieces but for the first, and hard if merges know about spaces and capitals. So merges are
learned on lower-case words without the space in front of them, then repeated for words with a capital, and the space
is merged last. Digits are never merged.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator

import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from .model import Forms
from .template import PHRASES

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [PAD, START, END]
SPACE = "Ġ"
"""How the space is spelled in byte-level BPE."""

MERGES = 1500
"""Merges learned on lower-case words."""

OFTEN = 12
"""How often a piece must begin a word to get forms with a space and a capital."""

WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
"""How text is split before the merges: GPT-2's pattern, which llama.cpp knows as the pre-tokenizer `gpt-2`."""


class Encoder:
    """Text to ids as llama.cpp does it: fixed phrases first, the longest before the others, then BPE on the rest."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.phrases = {phrase: tokenizer.token_to_id(phrase) for phrase in PHRASES}
        self.start, self.end, self.pad = (tokenizer.token_to_id(token) for token in (START, END, PAD))
        self._seen: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The ids of a text without control tokens."""
        ids: list[int] = []
        for part in partition(text):
            if part in self.phrases:
                ids.append(self.phrases[part])
                continue
            known = self._seen.get(part)
            if known is None:
                known = self.tokenizer.encode(part).ids
                if len(self._seen) < 200_000:
                    self._seen[part] = known
            ids += known
        return ids


def partition(text: str) -> Iterator[str]:
    """Cuts a text at the fixed phrases in it: for each, the longest first, all the places that are still free."""
    parts = [text]
    for phrase in _BY_LENGTH:
        if phrase in text:
            parts = [piece for part in parts for piece in _cut(part, phrase)]
    return (part for part in parts if part)


_BY_LENGTH = sorted(PHRASES, key=len, reverse=True)


def _cut(part: str, phrase: str) -> Iterator[str]:
    if part in PHRASES:
        yield part
        return
    before, *others = part.split(phrase)
    yield before
    for other in others:
        yield phrase
        yield other


def train(texts: Iterable[str]) -> Tokenizer:
    """Trains a tokenizer on texts without control tokens."""
    kept = [part for text in texts for part in partition(text) if part not in PHRASES]
    merges = _lower_merges(kept)
    base = _bare(models.BPE(vocab=_numbered([*_alphabet(), *(a + b for a, b in merges)]), merges=merges))
    needed = _initial_pieces(base, merges, kept)
    expanded: list[tuple[str, str]] = []
    for left, right in merges:
        expanded.append((left, right))
        if left + right in needed:
            expanded.append((left.capitalize(), right))
    starts = sorted({piece for piece in needed if piece.isascii()} | set("0123456789"))
    variants = dict.fromkeys(form for piece in starts for form in (piece, piece.capitalize()))
    expanded += [(SPACE, form) for form in variants]
    vocabulary = dict.fromkeys([*SPECIAL, *PHRASES, *_alphabet(), *(left + right for left, right in expanded)])
    return rebuild(list(vocabulary), expanded)


def rebuild(tokens: list[str], merges: list[tuple[str, str]]) -> Tokenizer:
    """The tokenizer that has these entries, in order, and these merges."""
    return _bare(models.BPE(vocab=_numbered(tokens), merges=merges))


def forms(tokenizer: Tokenizer) -> Forms:
    """Which tokens are forms of one piece; those that are nothing else's form stand alone, as plain ones."""
    numbers: dict[str, int] = {}
    pieces: list[int] = []
    kinds: list[int] = []
    for index in range(tokenizer.get_vocab_size()):
        token = tokenizer.id_to_token(index)
        whole = token in SPECIAL or token in PHRASES
        spaced = not whole and token.startswith(SPACE) and len(token) > 1
        bare = token[1:] if spaced else token
        capital = not whole and bare[:1].isascii() and bare[:1].isupper()
        pieces.append(numbers.setdefault(bare.lower() if capital else bare, len(numbers)))
        kinds.append(2 * capital + spaced)
    return Forms(torch.tensor(pieces), torch.tensor(kinds))


def _lower_merges(texts: list[str]) -> list[tuple[str, str]]:
    """Merges within lower-case words, spaces and digits apart."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(" +"), "removed"),
            pre_tokenizers.Split(Regex(WORDS), "isolated"),
            pre_tokenizers.Split(Regex(r"\p{N}"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    size = len(_alphabet()) + MERGES
    trainer = trainers.BpeTrainer(
        vocab_size=size, initial_alphabet=_alphabet(), show_progress=False, max_token_length=14
    )
    tokenizer.train_from_iterator(texts, trainer)
    return [pair for pair in _merges(tokenizer) if SPACE not in "".join(pair)]


def _merges(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    found = json.loads(tokenizer.to_str())["model"]["merges"]
    return [tuple(pair) if isinstance(pair, list) else tuple(pair.split(" ")) for pair in found]


def _initial_pieces(base: Tokenizer, merges: list[tuple[str, str]], texts: list[str]) -> set[str]:
    """The pieces that words often begin with, and those that they grow from."""
    counts: Counter[str] = Counter()
    split = pre_tokenizers.Split(Regex(WORDS), "isolated")
    for text in texts:
        counts.update(word.strip().lower() for word, _ in split.pre_tokenize_str(text))
    grown = {left + right: left for left, right in merges}
    needed = set(_alphabet())
    first: Counter[str] = Counter()
    for word, count in counts.items():
        first.update(dict.fromkeys(base.encode(word).tokens[:1], count))
    for begun, count in first.items():
        piece = begun if count >= OFTEN else ""
        while piece and piece not in needed:
            needed.add(piece)
            piece = grown.get(piece, "")
    return needed - {SPACE}


def _alphabet() -> list[str]:
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def _numbered(tokens: Iterable[str]) -> dict[str, int]:
    return {token: index for index, token in enumerate(dict.fromkeys(tokens))}


def _bare(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
