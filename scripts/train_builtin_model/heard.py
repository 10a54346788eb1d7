"""What was said and what was heard of it: sentences in units, their alignment, and the tables made from it.

A unit is a word of a sentence, or a whole value of a slot. The tables are `data/heard.tsv` (spans of one to three
ordinary words) and `data/heard_values.tsv` (values, by the source they came from).
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from pathlib import Path
from typing import NamedTuple

from .grammar import Piece

LONGEST_SAID = 3
LONGEST_HEARD = 4

COARSE = re.compile(r"\b(?:fuck|shit|bitch|cunt|whore|slut|porn|nazi|rape|rapist|boob|breast|sex)")
"""Words that the transcriber writes and that we do not keep."""

TABLES = frozenset(
    "countries opposites animals colours planets months weekdays mixes currencies plurals verbs riddles".split()
)
"""Sources whose values can be told from what was heard of them, because there are no others."""

NUMBER_SOURCES = frozenset(
    "numbers sums neighbours counting steps additions subtractions products divisions remainders triples squares gains "
    "losses groups shares compared".split()
)
SAME_TABLE = {"capital_mixups": "countries", "sizes": "animals", "classes": "animals", "planet_sizes": "planets"}

ARTICLES = frozenset(["a", "an", "the"])
_MARKED = re.compile(r"\{([a-z_:]+)=([^}]*)\}|(\S+)")
_SOUNDS = (("ph", "f"), ("ck", "k"), ("wh", "w"), ("kn", "n"), ("gh", ""), ("c", "k"), ("q", "k"), ("z", "s"))


class Unit(NamedTuple):
    """A word, or a slot's value (some words) with the source that it is from; `-` is an unknown source."""

    text: str
    source: str | None = None


class Segment(NamedTuple):
    """Some units and what was heard of them."""

    said: tuple[Unit, ...]
    heard: tuple[str, ...]


def table_of(rows: str | None) -> str | None:
    """Under what the values of a source are counted, if they are: else they are words like any others."""
    name = (rows or "").removeprefix("pairs:").partition(":")[0]
    name = "numbers" if name in NUMBER_SOURCES else SAME_TABLE.get(name, name)
    return name if name in TABLES | {"numbers", "me"} else None


def plain(text: str) -> str:
    """Lower case, letters and apostrophes only: how a transcriber writes."""
    bare = unicodedata.normalize("NFKD", text.lower().replace("’", "'"))
    bare = "".join(letter for letter in bare if not unicodedata.combining(letter))
    return " ".join(re.sub(r"[^a-z' ]", "", re.sub(r"[-/]", " ", bare)).split())


def units(pieces: Iterable[Piece], source: str | None = None) -> list[Unit]:
    """Cuts pieces into units; what is glued to a value (`France` + `'s`) is part of it, its article is not.

    `source` is that of the values, except Parley's own name, whose source is called `me`.
    """
    made: list[Unit] = []
    glued = False
    for piece in pieces:
        text = plain(piece.text).split()
        of = None
        if piece.fixed:
            of = "me" if text == ["parley"] else source or "-"
            text = [text[0], " ".join(text[1:])] if len(text) > 1 and text[0] in ARTICLES else [" ".join(text)]
        fresh = [Unit(word, None if word in ARTICLES else of) for word in text if word]
        if glued and fresh and made and piece.text[:1] not in " -":
            last, first = made.pop(), fresh.pop(0)
            made.append(Unit(last.text + first.text, last.source or first.source))
        made += fresh
        glued = bool(piece.text) and piece.text[-1:] not in " -"
    return made


def mark(sentence: Sequence[Unit]) -> str:
    """A sentence as one line, with its values as `{source=value}`."""
    return " ".join(f"{{{unit.source}={unit.text}}}" if unit.source else unit.text for unit in sentence)


def unmark(line: str) -> list[Unit]:
    """The units of a line that `mark` made."""
    return [Unit(word) if word else Unit(value, source) for source, value, word in _MARKED.findall(line)]


def counted(sentence: Sequence[Unit]) -> list[Unit]:
    """A sentence whose values are those that are counted as such, each with its table; others become words."""
    made: list[Unit] = []
    for unit in sentence:
        table = table_of(unit.source)
        made += [Unit(unit.text, table)] if table else [Unit(word) for word in unit.text.split()]
    return made


def align(said: Sequence[Unit], heard: Sequence[str]) -> list[Segment]:
    """Which units were heard as which words: equal words first, and in between what sounds most alike.

    Words that were heard where nothing was said are a segment without units.
    """
    segments: list[Segment] = []
    at = heard_at = 0
    texts = [unit.text for unit in said]
    values = {index: unit.text.split() for index, unit in enumerate(said) if " " in unit.text}
    flat = [(index, word) for index, text in enumerate(texts) for word in text.split()]
    matcher = SequenceMatcher(None, [word for _, word in flat], list(heard), autojunk=False)
    for block in matcher.get_matching_blocks():
        start = block.a
        while start < block.a + block.size:
            index = flat[start][0]
            length = len(values.get(index, [""]))
            whole = index >= at and flat[start - 1][0] != index if start else True
            if index < at or not whole or start + length > block.a + block.size:
                start += 1
                continue
            begin = block.b + start - block.a
            segments += _between(said[at:index], heard[heard_at:begin])
            segments.append(Segment((said[index],), tuple(heard[begin : begin + length])))
            at, heard_at = index + 1, begin + length
            start += length
    return segments + _between(said[at:], heard[heard_at:])


def _between(said: Sequence[Unit], heard: Sequence[str]) -> list[Segment]:
    """Aligns a stretch without equal words, at the least cost."""
    if not said:
        return [Segment((), tuple(heard))] if heard else []
    most = max(LONGEST_HEARD, -(-len(heard) // len(said)))
    best: dict[tuple[int, int], tuple[float, list[Segment]]] = {(0, 0): (0.0, [])}
    for end in range(1, len(said) + 1):
        for heard_end in range(len(heard) + 1):
            options = []
            for length in range(1, min(LONGEST_SAID, end) + 1):
                span = tuple(said[end - length : end])
                if length > 1 and any(unit.source for unit in span):
                    break
                for count in range(min(most, heard_end) + 1):
                    before = best.get((end - length, heard_end - count))
                    if before is not None:
                        words = tuple(heard[heard_end - count : heard_end])
                        cost = before[0] + distance("".join(unit.text for unit in span), "".join(words))
                        cost += 0.7 * (length - 1) + 0.3 * max(0, count - 1)
                        options.append((cost, [*before[1], Segment(span, words)]))
            if options:
                best[end, heard_end] = min(options, key=lambda option: option[0])
    return best[len(said), len(heard)][1] if (len(said), len(heard)) in best else [Segment(tuple(said), tuple(heard))]


@functools.lru_cache(maxsize=100_000)
def distance(said: str, heard: str) -> float:
    """How different two spellings sound: an edit distance in which vowels are cheap to change."""
    said, heard = _sound(said), _sound(heard)
    row = [float(index) for index in range(len(heard) + 1)]
    for letter in said:
        diagonal, row[0] = row[0], row[0] + 1
        for column, other in enumerate(heard, 1):
            change = 0.0 if letter == other else 0.5 if letter in "aeiouy" and other in "aeiouy" else 1.0
            best = min(row[column] + 1, row[column - 1] + 1, diagonal + change)
            diagonal, row[column] = row[column], best
    return row[-1]


def _sound(text: str) -> str:
    text = text.replace(" ", "").replace("'", "")
    for spelling, sound in _SOUNDS:
        text = text.replace(spelling, sound)
    return text


@dataclass
class Tables:
    """Counts of what was heard. `said` counts every span and value, however it was heard."""

    spans: Counter[tuple[str, str]] = field(default_factory=Counter)
    said: Counter[str] = field(default_factory=Counter)
    values: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    words: int = 0
    errors: int = 0

    def add(self, sentence: Sequence[Unit], heard: Sequence[str]) -> None:
        """Counts one sentence."""
        self._count_said(sentence)
        reference = [word for unit in sentence for word in unit.text.split()]
        self.words += len(reference)
        self.errors += word_errors(reference, heard)
        for segment in align(sentence, heard):
            words = " ".join(segment.heard)
            if len(segment.heard) > LONGEST_HEARD or COARSE.search(words):
                continue
            if segment.said and segment.said[0].source:
                self.values[segment.said[0].source, segment.said[0].text, words] += 1
            else:
                self.spans[" ".join(unit.text for unit in segment.said), words] += 1

    def _count_said(self, sentence: Sequence[Unit]) -> None:
        for start in range(len(sentence)):
            self.said[""] += 1
            for end in range(start + 1, min(start + LONGEST_SAID, len(sentence)) + 1):
                if sentence[end - 1].source:
                    break
                self.said[" ".join(each.text for each in sentence[start:end])] += 1

    def save(self, spans: Path, values: Path) -> None:
        """Writes both tables, sorted. Of spans heard right only single words are written."""
        rows = sorted(
            (said, heard, times) for (said, heard), times in self.spans.items() if said != heard or " " not in said
        )
        lines = [f"{said}\t{heard}\t{times}\t{self.said[said]}" for said, heard, times in rows]
        _write(spans, "said\theard\ttimes\tof", lines)
        found = sorted((*key, times) for key, times in self.values.items())
        _write(values, "source\tvalue\theard\ttimes", ["\t".join(map(str, row)) for row in found])


def _write(path: Path, header: str, lines: Sequence[str]) -> None:
    """Writes a file in one go: whoever reads it meanwhile gets the old or the new one."""
    other = path.with_suffix(".new")
    other.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    other.replace(path)


def word_errors(reference: Sequence[str], heard: Sequence[str]) -> int:
    """How many words must be put in, left out or changed to make one of the other."""
    distances = list(range(len(heard) + 1))
    for row, word in enumerate(reference, 1):
        diagonal, distances[0] = distances[0], row
        for column, other in enumerate(heard, 1):
            best = min(distances[column] + 1, distances[column - 1] + 1, diagonal + (word != other))
            diagonal, distances[column] = distances[column], best
    return distances[-1]


def read_log(path: Path) -> Iterator[tuple[list[Unit], list[str]]]:
    """The sentences of a log: lines of a voice, its pace, what was said and what was heard."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        fields = line.split("\t")
        if len(fields) == 4:
            yield counted(unmark(fields[2])), fields[3].split()
