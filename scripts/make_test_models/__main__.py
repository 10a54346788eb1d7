"""Makes one kind of weights: `python -m scripts.make_test_models whisper`."""

from __future__ import annotations

import argparse
import importlib

KINDS = {
    "llama": "language models in GGUF",
    "piper": "a Piper voice in ONNX",
    "whisper": "a Whisper that knows a few sentences, for faster-whisper",
}
"""Each has a module of this name, with `main(arguments)`: what it imports, only whoever makes that kind needs."""


def main() -> None:
    """Hands the rest of the command line to the module of the kind that is asked for."""
    kinds = "\n".join(f"  {kind:8} {what}" for kind, what in KINDS.items())
    parser = argparse.ArgumentParser(
        prog="python -m scripts.make_test_models",
        description=f"Makes the small models that the tests run real engines on:\n{kinds}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=KINDS, help="which; KIND --help tells its options")
    parser.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help=argparse.SUPPRESS)
    options = parser.parse_args()
    importlib.import_module(f".{options.kind}", __package__).main(options.rest)


if __name__ == "__main__":
    main()
