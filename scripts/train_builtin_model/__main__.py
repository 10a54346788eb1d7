"""From nothing to the file: `python -m scripts.train_builtin_model --out … --minutes 45 --seed 0`."""

from __future__ import annotations

import argparse
import random
import tempfile
from itertools import islice
from pathlib import Path

import torch
from tokenizers import Tokenizer

from .batches import Encoder, batches
from .dialogues import Dialogues
from .export import export
from .model import Llama, Shape
from .resume import resume
from .tokenizer import train as train_tokenizer
from .train import Plan, train

OUT = Path("pipeline/llm/builtin/parley-mini.gguf")
CURVE = Path(tempfile.gettempdir()) / "parley-mini-loss.tsv"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_builtin_model", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the GGUF file to write (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=45, help="wall time of the training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the dialogues and of the weights")
    parser.add_argument("--start", type=Path, metavar="GGUF", help="go on from this file instead of from nothing")
    parser.add_argument("--threads", type=int, default=2, help="threads of the training (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=4096, help="tokens a step (default: %(default)s)")
    parser.add_argument("--curve", type=Path, default=CURVE, help="the loss curve (default: %(default)s)")
    parser.add_argument("--show", type=int, metavar="N", help="print N dialogues and stop")
    return parser.parse_args()


def show(count: int, seed: int) -> None:
    """Prints some dialogues, to see what the model is going to learn."""
    for dialogue in islice(Dialogues(seed), count):
        print("\n".join(f"{role:>9}: {text}" for role, text in dialogue), end="\n\n")


def fresh(seed: int) -> tuple[Llama, Tokenizer]:
    """A model with random weights and a tokenizer trained on the dialogues."""
    print("training the tokenizer")
    texts = [text for dialogue in islice(Dialogues(seed), 20_000) for _, text in dialogue]
    random.Random(seed).shuffle(texts)
    shape = Shape()
    return Llama(shape), train_tokenizer(texts, shape.vocabulary)


def main() -> None:
    """Runs the whole line: dialogues, tokenizer, training, export."""
    options = arguments()
    if options.show:
        show(options.show, options.seed)
        return
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    model, tokenizer = resume(options.start) if options.start else fresh(options.seed)
    size = sum(value.numel() for value in model.parameters())
    print(f"{size / 1e6:.2f} M parameters, {model.shape.vocabulary} tokens")
    source = batches(Dialogues(options.seed + 1), Encoder(tokenizer), options.batch, longest=768)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    train(
        model,
        source,
        Plan(options.minutes),
        options.curve,
        lambda weights: export(options.out, model.shape, weights, tokenizer),
    )
    print(f"wrote {options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
