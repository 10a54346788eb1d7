"""Makes models of the true shape with random weights, to measure with: they cost what real ones do and know nothing.

    python -m scripts.make_bench_models qwen3-0.6b-q4_0 whisper-base piper-medium

Each is written into the folder `--out`; what is printed of it is its block for models.yaml.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from . import piper, qwen3, whisper


def _qwen3(name: str, kind: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        path = qwen3.write(folder / f"{name}-{kind}.gguf", qwen3.SHAPES[name], kind)
        return f"llm: {{engine: llama-cpp, model: {path}, context: 8192}}"

    return make


def _whisper(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        return f"transcription: {{engine: faster-whisper, model: {whisper.write(folder / name, whisper.SHAPES[name])}}}"

    return make


def _piper(name: str) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        path = folder / f"en_US-bench-{name.removeprefix('piper-')}.onnx"
        return f"tts: {{engine: piper, voice: {piper.write(path, piper.SHAPES[name])}}}"

    return make


MODELS: dict[str, Callable[[Path], str]] = {
    **{f"{name}-{kind}": _qwen3(name, kind) for name in qwen3.SHAPES for kind in qwen3.KINDS},
    **{name: _whisper(name) for name in whisper.SHAPES},
    **{name: _piper(name) for name in piper.SHAPES},
}
"""Each writes a model into a folder and returns its block for models.yaml."""


def main() -> None:
    """Writes the models that are asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m scripts.make_bench_models",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("models", nargs="+", choices=sorted(MODELS), metavar="MODEL", help=", ".join(sorted(MODELS)))
    parser.add_argument("--out", type=Path, default=Path("build/bench"), help="the folder (default: %(default)s)")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for model in options.models:
        print(MODELS[model](options.out.resolve()), flush=True)


if __name__ == "__main__":
    main()
