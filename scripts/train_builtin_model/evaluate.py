"""Asks the built-in model the evaluation's questions, and prints how many of its answers are right.

Run `python -m scripts.train_builtin_model.evaluate`. The questions are in `evaluation/*.tsv` (their notation:
evaluation_cases.py and evaluation_checks.py); they share no five words in a row with training (disjoint.py). Each is
asked at temperature 0 through Parley's own engine: under its own instructions, or, if it has none, under the usual
ones and under none.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from .evaluation_cases import Case, cases
from .evaluation_report import Speed, as_json, as_markdown, as_text, by_aim, missed
from .evaluation_run import Answer, Talker, shown

MODEL = Path("pipeline/llm/builtin/parley-mini.gguf")
TIMED = 60
"""How many cases are asked one after the other to measure the speed."""


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_builtin_model.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL, help="the GGUF file (default: %(default)s)")
    parser.add_argument("--category", metavar="TEXT", help="only files and categories whose name contains this")
    parser.add_argument("--temperature", type=float, default=0.0, help="above 0: each case several times")
    parser.add_argument("--times", type=int, default=3, help="how often, above temperature 0 (default: %(default)s)")
    parser.add_argument("--repeat", action="store_true", help="ask all twice at temperature 0; no reply may differ")
    parser.add_argument("--bad", action="store_true", help="print the wrong answers")
    parser.add_argument("--verbose", action="store_true", help="print all answers")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write figures and answers to a file")
    parser.add_argument("--markdown", action="store_true", help="print the table for the model card")
    parser.add_argument("--require", action="store_true", help="end with status 1 if an aim is missed")
    parser.add_argument("--sessions", type=int, default=8, help="conversations at a time (default: %(default)s)")
    options = parser.parse_args()
    if options.repeat and options.temperature > 0:
        parser.error("--repeat is for temperature 0")
    return options


def chosen(category: str | None) -> list[Case]:
    """The cases of a category, or all."""
    return [case for case in cases() if category is None or category in f"{case.file} {case.aim}: {case.category}"]


def measure(model: Path, asked: Sequence[Case]) -> Speed:
    """How fast one session is, and how long the model takes to load."""
    talker = Talker(model, 1)
    try:
        step = max(1, len(asked) // TIMED)
        answers = [talker.answer(case, None, 0.0) for case in asked[::step]]
    finally:
        talker.close()
    return Speed(
        sum(answer.tokens for answer in answers) / max(sum(answer.seconds for answer in answers), 1e-9),
        talker.seconds_to_load,
    )


def differing(first: Sequence[Answer], second: Sequence[Answer]) -> list[str]:
    """The conversations that went otherwise the second time."""
    return [
        f"{one.line()}\n    and then: {' / '.join(map(shown, two.replies))}"
        for one, two in zip(first, second, strict=True)
        if one.replies != two.replies
    ]


def variety(answers: Sequence[Answer]) -> str:
    """How many different replies the same conversations had."""
    found: dict[tuple[Case, str | None], list[str]] = defaultdict(list)
    for answer in answers:
        found[answer.case, answer.instructions].append(shown(answer.replies[-1]))
    times = max(len(replies) for replies in found.values())
    mean = sum(len(set(replies)) for replies in found.values()) / len(found)
    steady = sum(len(set(replies)) == 1 for replies in found.values())
    return (
        f"each asked {times} times: {mean:.2f} different replies on average; {steady} of {len(found)} always the same"
    )


def run(options: argparse.Namespace, asked: Sequence[Case]) -> int:
    """Asks, prints, and returns the exit status."""
    warm = options.temperature > 0
    begin = time.monotonic()
    talker = Talker(options.model, options.sessions)
    try:
        answers = talker.ask(asked, options.temperature, options.times if warm else 1)
        again = talker.ask(asked[::-1], 0.0)[::-1] if options.repeat else []
    finally:
        talker.close()
    took = time.monotonic() - begin
    for answer in answers:
        if options.verbose or (options.bad and not answer.right):
            print(answer.line())
    speed = measure(options.model, asked)
    print(as_markdown(answers, speed) if options.markdown else as_text(answers, speed))
    if not options.markdown:
        print(f"{len(answers)} conversations in {took:.0f} s")
    if warm:
        print(f"temperature {options.temperature:g}: {variety(answers)}")
    if options.json:
        options.json.write_text(as_json(answers, speed), encoding="utf-8")
    changed = differing(ordered(answers), ordered(again)) if options.repeat else []
    if options.repeat:
        print("\n".join([*changed, f"asked again, {len(changed)} of {len(answers)} conversations differ"]))
    lacking = missed(answers)
    if options.require:
        lacking += [f"{aim}: nothing asked" for aim in lacking_aims(answers)]
        print("\n".join(lacking) or "every aim is reached")
    return 1 if changed or (options.require and lacking) else 0


def ordered(answers: Sequence[Answer]) -> list[Answer]:
    """Answers in an order that does not depend on when they were asked."""
    return sorted(answers, key=lambda answer: (repr(answer.case), answer.instructions or ""))


def lacking_aims(answers: Sequence[Answer]) -> list[str]:
    """The aims that no case belonged to."""
    there = {figure.name for figure in by_aim(answers)}
    return [aim for aim in ("in-domain", "tools", "refusals") if aim not in there]


def main() -> None:
    """Runs what the command line asks for."""
    options = arguments()
    asked = chosen(options.category)
    if not asked:
        sys.exit(f"no case has {options.category!r} in the name of its file or category")
    sys.exit(run(options, asked))


if __name__ == "__main__":
    main()
