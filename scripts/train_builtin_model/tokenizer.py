"""A byte-level BPE tokenizer, trained on the dialogues, and the ChatML template it is used with."""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
SPECIAL = [PAD, START, END]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def train(texts: Iterable[str], vocabulary: int) -> Tokenizer:
    """Trains a tokenizer of exactly `vocabulary` entries, the special ones first.

    Splitting before the merges is GPT-2's, which llama.cpp knows as the pre-tokenizer `gpt-2`.
    """
    tokenizer = _bare(models.BPE())
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    if tokenizer.get_vocab_size() != vocabulary:
        raise ValueError(f"the texts gave {tokenizer.get_vocab_size()} tokens, not {vocabulary}: generate more")
    return tokenizer


def with_dropout(tokenizer: Tokenizer, chance: float) -> Tokenizer:
    """A copy that skips merges at random (Provilkov et al. 2020), so that the model sees words in other pieces."""
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.model.dropout = chance
    return copy


def rebuild(tokens: list[str], merges: list[str]) -> Tokenizer:
    """The tokenizer that has these entries, in order, and these merges (`left right` each)."""
    vocabulary = {token: index for index, token in enumerate(tokens)}
    pairs = [(left, right) for left, right in (merge.split(" ") for merge in merges)]
    tokenizer = _bare(models.BPE(vocab=vocabulary, merges=pairs))
    tokenizer.add_special_tokens(SPECIAL)
    return tokenizer


def _bare(model: models.BPE) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer
