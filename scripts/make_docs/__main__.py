"""`python -m scripts.make_docs`: writes the generated documents; with `--check` only says which are out of date."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from scripts.make_docs import engines, protocol

ROOT = Path(__file__).parents[2]

DOCUMENTS: Mapping[str, Callable[[], str]] = {
    "docs/engines.md": engines.document,
    "docs/protocol.md": protocol.document,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a document is out of date")
    check = parser.parse_args().check
    stale = [name for name, made in DOCUMENTS.items() if not is_current(name, made())]
    for name in stale:
        if check:
            print(f"{name} is out of date: run `make docs`.", file=sys.stderr)
        else:
            (ROOT / name).write_text(DOCUMENTS[name](), encoding="utf-8")
            print(f"wrote {name}")
    for field in protocol.undescribed():
        print(f"docs/protocol.md: the code does not say what this means: {field}", file=sys.stderr)
    return int(check and bool(stale))


def is_current(name: str, text: str) -> bool:
    """Returns whether the document in the tree says `text`."""
    path = ROOT / name
    return path.is_file() and path.read_text(encoding="utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
