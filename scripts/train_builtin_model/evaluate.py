"""Asks the exported file questions in wordings that training does not have, and prints figures by category.

Run `python -m scripts.train_builtin_model.evaluate` where llama-cpp-python is installed. The questions are in
`data/questions.tsv`: a category, a pattern (regular expression) that the last reply must contain (`!pattern`: must
not contain), instructions if not the usual ones, and what is said, turn by turn with ` / ` in between. `--check N`
instead looks for questions that N generated dialogues contain word for word.
"""

from __future__ import annotations

import argparse
import re
import time
from collections import defaultdict
from itertools import islice
from pathlib import Path

from .dialogues import DEFAULT_INSTRUCTIONS, Dialogues
from .sources import DATA, Row, read_table

MODEL = Path("pipeline/llm/builtin/parley-mini.gguf")


class Talker:
    """The exported model behind llama-cpp-python's chat interface, greedy unless a temperature is given."""

    def __init__(self, model: Path, temperature: float) -> None:
        from llama_cpp import Llama

        self.llama = Llama(str(model), n_ctx=2048, n_threads=2, verbose=False)
        self.temperature = temperature
        self.tokens = 0
        self.seconds = 0.0

    def talk(self, said: list[str], instructions: str | None) -> list[str]:
        """What the user says, turn by turn → the replies."""
        messages = [{"role": "system", "content": instructions}] if instructions else []
        replies = []
        for text in said:
            messages.append({"role": "user", "content": text})
            begin = time.monotonic()
            answer = self.llama.create_chat_completion(messages, temperature=self.temperature, max_tokens=300, seed=1)
            self.seconds += time.monotonic() - begin
            self.tokens += answer["usage"]["completion_tokens"]
            replies.append(answer["choices"][0]["message"]["content"])
            messages.append({"role": "assistant", "content": replies[-1]})
        return replies


def right(question: Row, reply: str) -> bool:
    """Whether the reply has what the question asks for."""
    wanted = question["wanted"]
    found = re.search(wanted.removeprefix("!"), reply, re.IGNORECASE) is not None
    return found != wanted.startswith("!")


def evaluate(talker: Talker, questions: list[Row], verbose: bool) -> None:
    """Asks each question with the default instructions and without any; prints the figures."""
    score: dict[str, list[bool]] = defaultdict(list)
    for question in questions:
        instructions = question["instructions"]
        for chosen in [instructions] if instructions else [DEFAULT_INSTRUCTIONS, None]:
            replies = talker.talk(question["said"].split(" / "), chosen)
            good = right(question, replies[-1])
            score[question["category"]].append(good)
            if verbose or not good:
                mark = "ok " if good else "BAD"
                print(f"{mark} {question['category']:12} {question['said']} → {' / '.join(replies)}")
    print()
    for category, results in score.items():
        print(f"{category:14} {sum(results):3} of {len(results):3}  {100 * sum(results) / len(results):5.1f} %")
    everything = [result for results in score.values() for result in results]
    print(f"{'all':14} {sum(everything):3} of {len(everything):3}  {100 * sum(everything) / len(everything):5.1f} %")
    print(f"{talker.tokens / talker.seconds:.0f} tokens a second, prompts included")


def check(questions: list[Row], count: int) -> None:
    """Prints the questions whose last words `count` training dialogues contain exactly, when lowered."""
    trained = {
        re.sub(r"[^a-z' ]", "", text.lower())
        for dialogue in islice(Dialogues(1), count)
        for role, text in dialogue
        if role == "user"
    }
    same = [question["said"] for question in questions if question["said"].split(" / ")[-1] in trained]
    print("\n".join(same))
    print(f"{len(same)} of {len(questions)} questions end in words that training has exactly")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_builtin_model.evaluate", description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL)
    parser.add_argument("--temperature", type=float, default=0.0)
    parser.add_argument("--verbose", action="store_true", help="print the right answers too")
    parser.add_argument("--check", type=int, metavar="N", help="compare with N training dialogues instead")
    options = parser.parse_args()
    questions = read_table(DATA / "questions.tsv")
    if options.check:
        check(questions, options.check)
    else:
        evaluate(Talker(options.model, options.temperature), questions, options.verbose)


if __name__ == "__main__":
    main()
