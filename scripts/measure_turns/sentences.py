"""The labelled sentences: what they say, of which kind they are, and whether they are finished."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_DATA = Path(__file__).parent / "data"
Part = Literal["tuning", "heldout"]


@dataclass(frozen=True, slots=True)
class Sentence:
    """`text` is as one would write it; a sentence that is not finished has no mark at its end."""

    text: str
    kind: str
    finished: bool

    @property
    def as_heard(self) -> str:
        """As transcribers of live speech write it: no capitals, no punctuation."""
        return " ".join(re.findall(r"\w+(?:'\w+)*", self.text.lower()))

    @property
    def as_said(self) -> str:
        """For a voice: a comma keeps it up where more is to come."""
        return self.text if self.finished else f"{self.text.rstrip(',')},"


def sentences(part: Part) -> list[Sentence]:
    """Returns the sentences of `tuning.txt` or `heldout.txt`."""
    found, finished, kind = [], False, ""
    for line in (_DATA / f"{part}.txt").read_text("utf-8").splitlines():
        if heading := re.fullmatch(r"\[(finished|unfinished) (\w+)\]", line):
            finished, kind = heading[1] == "finished", heading[2]
        elif line and not line.startswith("#"):
            found.append(Sentence(line, kind, finished))
    return found
