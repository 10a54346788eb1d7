"""Trains the model on a given number of tokens, exporting what there is every few minutes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from .batches import Batch
from .model import Llama

Exporter = Callable[[dict[str, Tensor]], None]


@dataclass(frozen=True)
class Plan:
    """How long and how fast: tokens to see and minutes to take at most, learning rates, how often to export and report.

    A run that ends by its tokens can be repeated; one that ends by its minutes depends on the machine. Compiled, a step
    takes four fifths of the time, and the first one half a minute and a C++ compiler.
    """

    minutes: float
    tokens: float = math.inf
    compiled: bool = False
    device: str = "cpu"
    matrix_rate: float = 4e-3
    other_rate: float = 3e-3
    warm_up: float = 0.02
    cool_down: float = 0.9
    export_minutes: float = 5.0
    report_steps: int = 20


class Average:
    """A running mean of the weights: steadier than the last step, and it costs next to nothing."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, keep: float) -> None:
        """Moves the mean towards the model; `keep` is the part of the old mean that stays."""
        for name, value in model.named_parameters():
            self.weights[name].lerp_(value, 1 - keep)


def rate(progress: float, plan: Plan) -> float:
    """The learning rate at `progress` (0 to 1) as a part of the highest: up, level, and down in a straight line."""
    if progress < plan.warm_up:
        return 0.1 + 0.9 * progress / plan.warm_up
    return min(1.0, max(0.0, 1 - progress) / plan.cool_down)


def optimisers(model: Llama, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices (Jordan et al. 2024: fewer tokens to the same loss), AdamW for the rest."""
    matrices = [value for value in model.blocks.parameters() if value.ndim == 2]
    chosen = {id(value) for value in matrices}
    others = [value for value in model.parameters() if id(value) not in chosen]
    return [
        torch.optim.Muon(
            matrices, lr=plan.matrix_rate, weight_decay=0.05, momentum=0.95, ns_steps=3, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def train(model: Llama, source: Iterator[Batch], plan: Plan, curve: Path, export: Exporter) -> None:
    """Trains until the tokens or the time are over; writes the loss curve to `curve` (tab-separated) as it goes."""
    model.to(plan.device)
    steppers = optimisers(model, plan)
    average = Average(model)
    if plan.compiled:  # block by block: all share one compilation, which takes seconds instead of minutes
        for block in model.blocks:
            block.compile(dynamic=True)
    begin = exported = time.monotonic()
    tokens = step = 0
    recent = progress = 0.0
    with curve.open("w", encoding="utf-8") as log:
        log.write("step\tminutes\ttokens\tloss\trate\n")
        while progress < 1:
            factor = rate(progress, plan)
            batch = Batch(*(part.to(plan.device) for part in next(source)))
            for stepper, highest in zip(steppers, (plan.matrix_rate, plan.other_rate), strict=True):
                for group in stepper.param_groups:
                    group["lr"] = highest * factor
            loss = learn(model, batch, steppers)
            step += 1
            tokens += batch.ids.numel()
            recent = loss if step == 1 else 0.95 * recent + 0.05 * loss
            average.update(model, min(0.995, step / (step + 10)))
            now = time.monotonic()
            minutes = (now - begin) / 60
            progress = max(minutes / plan.minutes, tokens / plan.tokens)
            if step % plan.report_steps == 0:
                log.write(f"{step}\t{minutes:.2f}\t{tokens}\t{recent:.4f}\t{factor:.3f}\n")
                log.flush()
                print(
                    f"{minutes:5.1f} min  {100 * progress:4.1f} %  step {step}  {tokens / 1e6:.2f} M tokens"
                    f"  {tokens / (now - begin):.0f}/s  loss {recent:.4f}",
                    flush=True,
                )
            if now - exported > 60 * plan.export_minutes:
                exported = now
                export(model.plain(average.weights))
    export(model.plain(average.weights))


def losses_of(model: Llama, ids: Tensor, places: Tensor, targets: Tensor) -> Tensor:
    """The loss at each place that is learned, in nats."""
    with torch.autocast(ids.device.type, dtype=torch.bfloat16):
        logits = model(ids, places)
    return functional.cross_entropy(logits.float(), targets, reduction="none")


def learn(model: Llama, batch: Batch, steppers: list[torch.optim.Optimizer]) -> float:
    """One step; returns the mean loss of the assistant's tokens in nats."""
    losses = losses_of(model, batch.ids, batch.places, batch.targets)
    ((losses * batch.weights).sum() / batch.weights.sum()).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for stepper in steppers:
        stepper.step()
        stepper.zero_grad(set_to_none=True)
    value = losses.detach()[batch.weights == 1].mean().item()
    if not math.isfinite(value):
        raise FloatingPointError("the loss is no longer a number: lower the learning rates")
    return value
