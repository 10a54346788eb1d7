"""From nothing to the file: `python -m scripts.train_builtin_model --seed 0`."""

from __future__ import annotations

import argparse
import tempfile
from itertools import islice
from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer

from .batches import batches
from .dialogues import Dialogues
from .export import Card, export
from .model import Llama, Shape
from .resume import resume
from .template import CHAT_TEMPLATE, PHRASES, rendered
from .tokenizer import END, PAD, SPECIAL, Encoder, forms
from .tokenizer import train as train_tokenizer
from .train import Plan, train

OUT = Path("pipeline/llm/builtin/parley-mini.gguf")
CURVE = Path(tempfile.gettempdir()) / "parley-mini-loss.tsv"


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_builtin_model", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the GGUF file to write (default: %(default)s)")
    parser.add_argument(
        "--tokens", type=float, default=28, help="millions of tokens to train on (default: %(default)s)"
    )
    parser.add_argument("--minutes", type=float, default=115, help="minutes to take at most (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the dialogues and of the weights")
    parser.add_argument("--start", type=Path, metavar="GGUF", help="go on from this file instead of from nothing")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: a GPU if there is one")
    parser.add_argument("--threads", type=int, default=2, help="threads of the training (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=2048, help="tokens a step (default: %(default)s)")
    parser.add_argument("--curve", type=Path, default=CURVE, help="the loss curve (default: %(default)s)")
    parser.add_argument("--show", type=int, metavar="N", help="print N dialogues and stop")
    parser.add_argument("--family", help="with --show: only dialogues of this family")
    return parser.parse_args()


def show(count: int, seed: int, family: str | None) -> None:
    """Prints some dialogues, to see what the model is going to learn."""
    source = Dialogues(seed)
    dialogues = (source.dialogue(family) for _ in range(count)) if family else islice(source, count)
    for dialogue in dialogues:
        print("\n".join(f"{part.role:>9}: {part.text}" for part in rendered(dialogue)), end="\n\n")


def fresh(seed: int) -> tuple[Llama, Tokenizer]:
    """A model with random weights and a tokenizer trained on the dialogues."""
    print("training the tokenizer")
    tokenizer = train_tokenizer(
        part.text for dialogue in islice(Dialogues(seed), 12_000) for part in rendered(dialogue)
    )
    return Llama(Shape(vocabulary=tokenizer.get_vocab_size()), forms(tokenizer)), tokenizer


def card() -> Card:
    """What the file says of itself."""
    kinds = dict.fromkeys(SPECIAL, gguf.TokenType.CONTROL) | dict.fromkeys(PHRASES, gguf.TokenType.USER_DEFINED)
    description = "The built-in language model of Parley: short spoken English and function calls, made from nothing."
    return Card("Parley Mini", description, CHAT_TEMPLATE, kinds, END, PAD)


def main() -> None:
    """Runs the whole line: dialogues, tokenizer, training, export."""
    options = arguments()
    if options.show:
        show(options.show, options.seed, options.family)
        return
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    device = options.device or ("cuda" if torch.cuda.is_available() else "cpu")
    model, tokenizer = resume(options.start) if options.start else fresh(options.seed)
    size = sum(value.numel() for value in model.parameters())
    print(f"{size / 1e6:.2f} M parameters, {model.shape.vocabulary} tokens")
    source = batches(Dialogues(options.seed + 1), Encoder(tokenizer), options.batch, options.seed)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    train(
        model,
        source,
        Plan(options.minutes, options.tokens * 1e6, compiled=device == "cpu", device=device),
        options.curve,
        lambda weights: export(options.out, model.shape, weights, tokenizer, card()),
    )
    print(f"wrote {options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
