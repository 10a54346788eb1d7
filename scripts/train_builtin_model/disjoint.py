"""Proves that the evaluation shares no five words in a row with what users say in training.

Run `python -m scripts.train_builtin_model.disjoint --dialogues N --seed S`: it goes through the first N dialogues
of the seed that training used, prints each run of five words that they share with the evaluation, with its count,
and ends with status 1 if there is one. Functions and people of the evaluation must not be in training either.

The generator draws a sentence again for which `offends` (reserve.py) is true, so that the proof holds by construction;
`--without-reserve` lets it keep them, and so counts what the reserve takes from training.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from itertools import islice
from typing import Any

from . import reserve
from .evaluation_cases import functions, names
from .reserve import LENGTH, grams, offends, reserved
from .sources import DATA

__all__ = ["grams", "offends", "reserved"]


class Found:
    """What training shares with the evaluation, counted while its dialogues go by."""

    def __init__(self) -> None:
        self.texts = 0
        self.shared: Counter[str] = Counter()
        self.sentences = 0
        self.example: dict[str, str] = {}
        self.functions: Counter[str] = Counter()

    def see(self, dialogue: Any) -> None:
        """Looks at one dialogue: its messages, each a role and a text, and the functions that it offers."""
        for message in getattr(dialogue, "messages", dialogue):
            if message[0] != "user":
                continue
            self.texts += 1
            hits = [" ".join(gram) for gram in grams(message[1]) if gram in reserved()]
            self.sentences += bool(hits)
            self.shared.update(hits)
            self.example.update(dict.fromkeys(hits, message[1]))
        self.functions.update(
            tool["name"] for tool in getattr(dialogue, "tools", ()) if tool["name"].lower() in functions()
        )


def words_of_tables() -> frozenset[str]:
    """The words of the files that training is made from, names of functions whole."""
    everything = " ".join(
        path.read_text(encoding="utf-8").lower() for path in sorted(DATA.rglob("*")) if path.suffix in (".tsv", ".txt")
    )
    return frozenset(re.findall(r"[^\W\d]\w*", everything))


def report(found: Found, out: Any = None) -> bool:
    """Prints what is shared; returns whether nothing is."""
    for gram, count in found.shared.most_common():
        print(f"{count:6}  {gram}   in: {found.example[gram]}", file=out)
    tables = words_of_tables()
    people = sorted(names() & tables)
    called = sorted(name for name in functions() if name.lower() in tables or found.functions[name.lower()])
    if people:
        print(f"people of the evaluation in training's tables: {', '.join(people)}", file=out)
    if called:
        print(f"functions of the evaluation in training: {', '.join(called)}", file=out)
    part = 100 * found.sentences / max(found.texts, 1)
    print(
        f"{len(found.shared)} of {len(reserved())} reserved runs of {LENGTH} words are in {found.sentences} of "
        f"{found.texts} sentences of users ({part:.2f} %); {len(names())} people and {len(functions())} functions "
        "looked for",
        file=out,
    )
    return not (found.shared or people or called)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_builtin_model.disjoint", description=__doc__)
    parser.add_argument("--dialogues", type=int, default=20_000, metavar="N", help="how many (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, metavar="S", help="of the dialogues (default: %(default)s)")
    parser.add_argument("--without-reserve", action="store_true", help="count what the generator avoids")
    options = parser.parse_args()
    from .dialogues import Dialogues

    reserve.keeping = not options.without_reserve
    found = Found()
    for dialogue in islice(Dialogues(options.seed), options.dialogues):
        found.see(dialogue)
    sys.exit(0 if report(found) else 1)


if __name__ == "__main__":
    main()
