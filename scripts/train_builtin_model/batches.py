"""Dialogues as batches of token ids, in which only what the assistant says is learned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

import torch
from tokenizers import Tokenizer
from torch import Tensor

from .dialogues import Message
from .tokenizer import END, PAD, START, with_dropout

OTHERS_WEIGHT = 0.1
"""How much the words of the user count: enough to learn how they hang together, too little to cost answers."""


class Batch(NamedTuple):
    """`ids` and `targets` are [rows, time]; `weights` says how much each target counts, 0 for padding."""

    ids: Tensor
    targets: Tensor
    weights: Tensor


class Encoder:
    """Turns dialogues into ids and weights; some users' words are cut into smaller pieces than usual."""

    def __init__(self, tokenizer: Tokenizer, dropout: float = 0.06) -> None:
        self.plain = tokenizer
        self.pieces = with_dropout(tokenizer, dropout)
        self.start, self.end, self.pad = (tokenizer.token_to_id(token) for token in (START, END, PAD))
        self.newline = tokenizer.encode("\n").ids

    def encode(self, dialogue: list[Message]) -> tuple[list[int], list[float]]:
        """The ids of a dialogue in ChatML and the weight of each as a target."""
        ids: list[int] = []
        weights: list[float] = []
        for role, text in dialogue:
            speaker = "assistant" if role == "cut" else role
            head = [self.start, *self.plain.encode(f"{speaker}\n").ids]
            tokenizer = self.pieces if role == "user" else self.plain
            body = [*tokenizer.encode(text).ids, self.end]
            worth = {"assistant": 1.0, "user": OTHERS_WEIGHT}.get(role, 0.0)
            ids += [*head, *body, *self.newline]
            weights += [0.0] * len(head) + [worth] * len(body) + [0.0] * len(self.newline)
        return ids, weights


def batches(dialogues: Iterable[list[Message]], encoder: Encoder, tokens: int, longest: int) -> Iterator[Batch]:
    """Batches of about `tokens` ids. Dialogues of like length share a batch, so little of it is padding.

    Each row is one dialogue cut at `longest`: nothing of one conversation is ever seen from another.
    """
    source = iter(dialogues)
    while pool := [encoder.encode(dialogue) for dialogue in islice(source, 1024)]:
        pool.sort(key=lambda item: len(item[0]))
        groups: list[list[tuple[list[int], list[float]]]] = [[]]
        for ids, weights in pool:
            item = (ids[:longest], weights[:longest])
            if (len(groups[-1]) + 1) * len(item[0]) > tokens and groups[-1]:
                groups.append([])
            groups[-1].append(item)
        order = torch.randperm(len(groups)).tolist()
        yield from (_pad(groups[at], encoder.pad) for at in order)


def _pad(group: list[tuple[list[int], list[float]]], pad: int) -> Batch:
    time = max(len(ids) for ids, _ in group)
    ids = torch.tensor([row + [pad] * (time - len(row)) for row, _ in group])
    weights = torch.tensor([row + [0.0] * (time - len(row)) for _, row in group])
    return Batch(ids[:, :-1], ids[:, 1:], weights[:, 1:])
