"""`python -m scripts.make_bench_models qwen3-0.6b-q4_0 --out DIR`."""

from __future__ import annotations

import argparse
from pathlib import Path

from . import qwen3

MODELS = {f"{name}-{kind}": (name, kind) for name in qwen3.SHAPES for kind in qwen3.KINDS}


def main() -> None:
    """Writes the models that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m scripts.make_bench_models", description=__doc__)
    parser.add_argument("models", nargs="+", choices=sorted(MODELS), metavar="MODEL", help=", ".join(sorted(MODELS)))
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="the folder (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for model in options.models:
        name, kind = MODELS[model]
        path = qwen3.write(options.out / f"{model}.gguf", qwen3.SHAPES[name], kind)
        print(f"{path}: {path.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
