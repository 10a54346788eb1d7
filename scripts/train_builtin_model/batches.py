"""Dialogues as batches of token ids, in which only what the assistant says is learned."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import torch
from torch import Tensor

from .dialogue import Dialogue
from .template import rendered
from .tokenizer import Encoder

OTHERS_WEIGHT = 0.1
"""How much the words of the user count: enough to learn how they hang together, too little to cost answers."""

LENGTHS = (48, 64, 96, 128, 160, 192, 256, 320, 384, 512, 768)
"""To which lengths dialogues are padded: few, because each is compiled once."""

POOL = 1536
"""How many dialogues are sorted by length at a time."""


class Batch(NamedTuple):
    """`ids` is [rows, time]. `places` are the flat places whose next token is learned, `targets` those tokens.

    `weights` says how much each counts. There are 9 places for 20 ids, so that batches of one length have
    one shape: what is left over has weight 0.
    """

    ids: Tensor
    places: Tensor
    targets: Tensor
    weights: Tensor


Row = tuple[list[int], list[float]]


def encode(dialogue: Dialogue, encoder: Encoder) -> Row:
    """The ids of a dialogue and the weight of each as a target."""
    ids: list[int] = []
    weights: list[float] = []
    newline = encoder.encode("\n")
    for part in rendered(dialogue):
        head = [encoder.start, *encoder.encode(f"{part.role}\n")]
        body = [*encoder.encode(part.text), encoder.end]
        worth = 1.0 if part.learned else OTHERS_WEIGHT if part.role == "user" else 0.0
        ids += [*head, *body, *newline]
        weights += [0.0] * len(head) + [worth] * len(body) + [0.0] * len(newline)
    return ids, weights


def batches(dialogues: Iterable[Dialogue], encoder: Encoder, tokens: int, seed: int) -> Iterator[Batch]:
    """Batches of about `tokens` ids. Dialogues of like length share a batch, so little of it is padding.

    Each row is one dialogue, cut at the longest length: nothing of one conversation is ever seen from another.
    """
    rng = random.Random(seed)
    source = iter(dialogues)
    waiting: dict[int, list[Row]] = {length: [] for length in LENGTHS}
    while pool := [encode(dialogue, encoder) for dialogue in islice(source, POOL)]:
        ready: list[Batch] = []
        for ids, weights in pool:
            length = next((length for length in LENGTHS if len(ids) <= length + 1), LENGTHS[-1])
            rows = waiting[length]
            rows.append((ids[: length + 1], weights[: length + 1]))
            if len(rows) == max(1, tokens // length):
                ready.append(batch_of(rows, length, encoder.pad))
                waiting[length] = []
        rng.shuffle(ready)
        yield from ready


def batch_of(rows: Sequence[Row], length: int, pad: int) -> Batch:
    """A batch of rows of at most `length` + 1 ids each, filled up with `pad`."""
    ids = torch.full((len(rows), length + 1), pad)
    weights = torch.zeros(len(rows), length + 1)
    for row, (tokens, worths) in enumerate(rows):
        ids[row, : len(tokens)] = torch.tensor(tokens)
        weights[row, : len(worths)] = torch.tensor(worths)
    flat = weights[:, 1:].reshape(-1)
    wanted = flat.nonzero().squeeze(1)
    size = -(-flat.numel() * 9 // 20)
    if len(wanted) > size:  # what the assistant says goes before what the user says
        wanted = wanted[flat[wanted].argsort(descending=True, stable=True)][:size]
    places = torch.cat([wanted, torch.zeros(size - len(wanted), dtype=torch.long)])
    worth = torch.cat([flat[wanted], torch.zeros(size - len(wanted))])
    return Batch(ids[:, :-1].contiguous(), places, ids[:, 1:].reshape(-1)[places], worth)
