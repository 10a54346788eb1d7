"""Trains a Whisper that knows a few sentences, and writes it for faster-whisper.

It transcribes them word for word when espeak-ng says them, in a window of 10 to 30 seconds, with times, after a prompt
whose style it takes up, in English and German; it finds no words in silence and noise; and its attention follows the
words, so that their times can be told. It is of no use beyond that.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader

from .whisper_export import ALIGNMENT_HEADS, export
from .whisper_lessons import ALL_LENGTHS, IGNORED, Batch, Lessons
from .whisper_network import Shape, Whisper
from .whisper_speech import SENTENCES, Studio, plain
from .whisper_tokens import TIMESTAMPS, Tokens

OUT = Path("tests/weights/whisper-tiny")

_TAKES = 60
"""Of each sentence in each language."""
_WARMUP = 100
_LOOKING = 0.3
"""How much it counts where the alignment heads look, beside what is written."""


def main(arguments: list[str]) -> None:
    """Runs the whole line: speech, tokens, training, export."""
    options = _options(arguments)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    takes = Studio(random.Random(options.seed)).record(_TAKES)
    tokens = Tokens(style(f" {text}") for pair in SENTENCES for text in pair for style in (str, plain))
    network = Whisper(Shape(tokens.size, TIMESTAMPS))
    if options.start:
        network.load_state_dict(torch.load(options.start))
    print(
        f"{sum(each.numel() for each in network.parameters()) / 1e6:.2f} M parameters, {tokens.size} tokens", flush=True
    )
    begun = ALL_LENGTHS if options.start else 0.0
    lessons = Lessons(takes, tokens, options.seed + 1, options.steps, begun)
    batches = DataLoader(lessons, batch_size=None, num_workers=1, prefetch_factor=8)
    optimizer = torch.optim.AdamW(network.parameters(), lr=options.rate, betas=(0.9, 0.98), weight_decay=0.01)
    began = time.monotonic()
    for step, batch in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = options.rate * _schedule(step, options.steps)
        writing, looking = losses(network, batch)
        optimizer.zero_grad()
        (writing + _LOOKING * looking).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        if step % 50 == 0:
            spent = time.monotonic() - began
            print(f"step {step}: writing {writing:.3f}, looking {looking:.3f}, {spent:.0f} s", flush=True)
        if step % 500 == 499:
            _save(options, network, tokens)
    _save(options, network, tokens)


def losses(network: Whisper, batch: Batch) -> tuple[Tensor, Tensor]:
    """Returns the cross entropy of what should be written, and that of looking where it should."""
    states, attention = network.decode(batch.tokens, network.encode(batch.mel, batch.first))
    written = batch.targets != IGNORED  # the vocabulary is large, and prompts are long
    writing = functional.cross_entropy(network.logits(states[written]), batch.targets[written])
    places = torch.arange(attention.shape[-1])
    first, last = batch.looks[..., 0, None], batch.looks[..., 1, None]
    right = attention[:, list(ALIGNMENT_HEADS)] * ((first <= places) & (places <= last))[:, None]
    missed = -(right.sum(-1) + 1e-6).log().mean(1)
    wanted = batch.looks[..., 1] > 0
    return writing, missed[wanted].mean()


def _schedule(step: int, steps: int) -> float:
    """Returns the share of the peak learning rate: a straight rise, then half a cosine."""
    return min(1.0, (step + 1) / _WARMUP) * (0.02 + 0.49 * (1 + math.cos(math.pi * step / steps)))


def _save(options: argparse.Namespace, network: Whisper, tokens: Tokens) -> None:
    export(options.out, network, tokens)
    if options.checkpoint:
        torch.save(network.state_dict(), options.checkpoint)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m scripts.make_test_models whisper", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the folder to write (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=2500, help="steps of the training (default: %(default)s)")
    parser.add_argument("--rate", type=float, default=2e-3, help="the learning rate's peak (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of speech, windows and weights")
    parser.add_argument(
        "--threads", type=int, default=1, help="threads of the training; more than cores are free slow it down"
    )
    parser.add_argument("--checkpoint", type=Path, help="also keep the weights as PyTorch has them, in this file")
    parser.add_argument("--start", type=Path, help="go on from such a file, with windows of all lengths")
    return parser.parse_args(arguments)
