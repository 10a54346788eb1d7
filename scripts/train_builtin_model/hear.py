"""Speaks sentences of the generator with espeak-ng, has PocketSphinx hear them, and counts what became of them.

`python -m scripts.train_builtin_model.hear --minutes N` goes on with a log (`--log`), a line a sentence, and writes
`data/heard.tsv` and `data/heard_values.tsv` anew from all of it. It takes the values and the intents that were heard
least often first. `--questions FILE --out FILE` instead passes the questions of an evaluation (a table with the
column `said`, turns with ` / ` in between) through a voice and PocketSphinx.

Everything that ears are needed for is here; `damage.py` reads only the tables.
"""

from __future__ import annotations

import argparse
import ctypes
import random
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soxr

from pipeline.transcription.pocketsphinx import PocketSphinx, PocketSphinxStream
from pipeline.tts.espeak_ng import EspeakNg
from pipeline.types import LISTENING_RATE, Pcm16, SpeechRequest
from pipeline.workers import CancelToken

from .chat import Setting
from .dialogues import Dialogues
from .grammar import Intent, Pattern, read
from .heard import Tables, Unit, counted, mark, plain, read_log, table_of, units
from .sources import DATA, Row, Sources, read_table

LOG = Path("build/heard_log.tsv")
MINI = "en-us+klatt4"
"""The voice of `mini` in models.yaml."""

OTHERS = ("en-us", "en-us+klatt", "en-us+klatt3", "en-us+klatt3")
"""Of those that were tried. Of en-gb, m3, steph and klatt2, PocketSphinx gets about three words of ten."""

NOT_SAID = ("!", ">", "<")
"""What begins a part of an evaluation's conversation that is not the user's."""

SESSION = 4
"""Sentences that one speaker says in a row: the ear gets used to them."""

FIRST = ("countries", "animals", "planets", "weekdays", "months", "colours", "mixes", "opposites", "verbs", "plurals")
"""Tables whose values go before those of the others."""

COMMON, OFTEN = 30, 3
"""Of a table's first rows, which hold the best known things, how many are heard how many times more."""

COMMON_SLOTS = frozenset(["countries:country", "animals:animal", "colours:thing", "opposites:word", "planets:planet"])

LEVEL = 0.3
ROOM = 30
"""Steps of noise, about -60 dB: a quiet room."""

BESIDE_S = 0.3
LONGEST = 16
"""Words of a sentence, at most."""


class Speaker(NamedTuple):
    """A voice and its pace."""

    voice: str
    pace: int


class Mouth:
    """espeak-ng in a quiet room."""

    def __init__(self) -> None:
        self._engine = EspeakNg(EspeakNg.Options(voice=MINI))
        self._noise = np.random.default_rng(0).integers(-ROOM, ROOM + 1, 60 * LISTENING_RATE).astype(np.int16)

    def say(self, text: str, speaker: Speaker) -> Pcm16:
        """A sentence at 16 kHz with a little silence on both sides."""
        ctypes.CDLL(None).srand(1)  # the voice has noise in it, from C's rand(): let it be the same noise each time
        request = SpeechRequest(text, voice=speaker.voice, speed=speaker.pace / 160)
        chunks = list(self._engine.synthesize(request, CancelToken()))
        voice = soxr.resample(np.concatenate(chunks), self._engine.rate, LISTENING_RATE)
        beside = np.zeros(round(BESIDE_S * LISTENING_RATE), np.int16)
        sound = np.concatenate([beside, (voice * LEVEL).astype(np.int16), beside])
        return sound + self._noise[: len(sound)]


class Ear:
    """PocketSphinx as `mini` has it; `listen` keeps what it learned of a speaker until `turn`."""

    def __init__(self) -> None:
        self._engine = PocketSphinx(PocketSphinx.Options())
        self._stream: PocketSphinxStream | None = None

    def turn(self) -> None:
        """Somebody else will speak."""
        if self._stream is not None:
            self._stream.close()
        self._stream = None

    def listen(self, sound: Pcm16) -> str:
        """What was understood."""
        if self._stream is None:
            self._stream = self._engine.open()
        self._stream.feed(sound)
        return self._stream.finish().text

    def close(self) -> None:
        """Ends the decoder's processes."""
        self.turn()
        self._engine.close()


class Sentence(NamedTuple):
    """What to say, and of which intent and value it is."""

    text: str
    said: list[Unit]


class Value(NamedTuple):
    """What can fill a slot: where it is from, its table and plain words, its row, and when its turn comes."""

    source: str
    slot: str
    name: tuple[str, str]
    row: Row
    more: int
    place: int


class Sentences:
    """Draws sentences: those whose values or whose intents were heard least often first."""

    def __init__(self, rng: random.Random, heard: Tables) -> None:
        self.rng = rng
        self.sources = Sources()
        everything = read(sorted(DATA.glob("*.txt")))
        self.intents = [intent for intent in everything if not intent.name.startswith("system_")]
        self.asked: Counter[int] = Counter()
        self.carriers = self._find_carriers()
        self.valued: Counter[tuple[str, str]] = Counter()
        for (source, value, _), times in heard.values.items():
            self.valued[source, value] += times
        self.values = self._all_values()
        self.dialogues = Dialogues(rng.randrange(1000))
        for share in self.dialogues.families.values():
            share.family.chat.setting = lambda _rng: Setting()  # everybody speaks, and is heard well
        self.waiting: list[str] = []

    def __iter__(self) -> Iterator[Sentence]:
        while True:
            for made in (self._of_an_intent(), self._of_a_value(), self._of_a_value(), self._of_a_family()):
                if made is not None and 0 < len(made.text.split()) <= LONGEST:
                    yield made

    def _find_carriers(self) -> dict[tuple[str, str], list[tuple[Intent, Pattern]]]:
        found: dict[tuple[str, str], list[tuple[Intent, Pattern]]] = {}
        for intent in self.intents:
            source = (intent.rows or "").removeprefix("pairs:")
            for turn in intent.turns:
                for pattern in turn.asks:
                    for slot in _slots(pattern):
                        found.setdefault((source, slot), []).append((intent, pattern))
        return {key: patterns for key, patterns in found.items() if table_of(key[0])}

    def _all_values(self) -> list[Value]:
        """Everything that can fill a slot."""
        common = {
            (source, slot, row[slot])
            for source, slot in (name.split(":") for name in COMMON_SLOTS)
            for row in self.sources.tables[source][:COMMON]
        }
        values: dict[tuple[str, str, str], Value] = {}
        for source, slot in self.carriers:
            table = str(table_of(source))
            place = FIRST.index(table) if table in FIRST else len(FIRST)
            for row in self.sources.tables.get(source) or [self.sources.draw(source, self.rng) for _ in range(400)]:
                key = (source, slot, row.get(slot, ""))
                if key[2] and key not in values:
                    values[key] = Value(source, slot, (table, plain(key[2])), row, OFTEN * (key in common), place)
        made = list(values.values())
        self.rng.shuffle(made)
        return made

    def _of_a_value(self) -> Sentence | None:
        """With the value that was heard least often, or of these with one of the first table."""
        value = min(self.values, key=lambda each: (self.valued[each.name] - each.more, each.place))
        self.valued[value.name] += 1
        intent, pattern = self.rng.choice(self.carriers[value.source, value.slot])
        row = value.row
        if (intent.rows or "").startswith("pairs:"):
            second = self.sources.draw(value.source, self.rng)
            row = row | {f"{key}2": other for key, other in second.items()}
        return self._expand(intent, pattern, row)

    def _of_an_intent(self) -> Sentence | None:
        at = min(range(len(self.intents)), key=lambda index: (self.asked[index], self.rng.random()))
        self.asked[at] += 1
        intent = self.intents[at]
        row = self.sources.draw(intent.rows, self.rng) if intent.rows else {}
        patterns = self.rng.choice(intent.turns).asks
        if intent.name == "openers" and self.rng.random() < 0.3:
            patterns = intent.turns[0].replies
        return self._expand(intent, self.rng.choice(patterns), row)

    def _of_a_family(self) -> Sentence | None:
        """What users say in conversations other than talk; their values cannot be told from other words."""
        if not self.waiting:
            names = [name for name in self.dialogues.families if name != "talk"] or ["talk"]
            made = self.dialogues.dialogue(self.rng.choice(names))
            self.waiting = [plain(text) for role, text, _ in made.messages if role == "user"][-3:]
        words = self.waiting.pop(0).split() if self.waiting else []
        return Sentence(" ".join(words), [Unit(word) for word in words])

    def _expand(self, intent: Intent, pattern: Pattern, row: Row) -> Sentence | None:
        try:
            pieces = pattern.expand(self.rng, {"me": "Parley"} | row)
        except (KeyError, IndexError):
            return None
        said = counted(units(pieces, intent.rows))
        return Sentence(" ".join(unit.text for unit in said), said)


def _slots(pattern: Pattern) -> set[str]:
    """The slots of a pattern, without the 2 of a pair's second row."""
    return {slot.rstrip("2") for slot in re.findall(r"\{(?:a:)?([a-z0-9_]+)\}", pattern.source)} - {"me"}


def draw_speaker(rng: random.Random) -> Speaker:
    """Mostly the voice of `mini`, at some pace."""
    voice = MINI if rng.random() < 0.7 else rng.choice(OTHERS)
    return Speaker(voice, rng.choice([120, 130, 140, 145, 145, 150, 160]))


def listen_for(minutes: float, log: Path) -> None:
    """Goes on with the log for some minutes, and writes the tables every two."""
    tables = Tables()
    lines = 0
    for said, heard in read_log(log):
        tables.add(said, heard)
        lines += 1
    rng = random.Random(lines)
    mouth, ear = Mouth(), Ear()
    end = time.monotonic() + 60 * minutes
    saved = time.monotonic()
    log.parent.mkdir(parents=True, exist_ok=True)
    speaker = draw_speaker(rng)
    with log.open("a", encoding="utf-8") as file:
        for sentence in Sentences(rng, tables):
            if time.monotonic() > end:
                break
            if rng.random() < 1 / SESSION:
                speaker = draw_speaker(rng)
                ear.turn()
            text = ear.listen(mouth.say(sentence.text, speaker))
            file.write(f"{speaker.voice}\t{speaker.pace}\t{mark(sentence.said)}\t{text}\n")
            file.flush()
            tables.add(sentence.said, text.split())
            if time.monotonic() > saved + 120:
                save(tables)
                saved = time.monotonic()
    ear.close()
    save(tables)


def save(tables: Tables) -> None:
    """Writes the tables and says how large they are."""
    tables.save(DATA / "heard.tsv", DATA / "heard_values.tsv")
    rate = 100 * tables.errors / max(1, tables.words)
    print(
        f"{tables.words} words, {rate:.1f} % wrong; {len(tables.spans)} spans, {len(tables.values)} values", flush=True
    )


def speak_questions(questions: Path, out: Path, speaker: Speaker) -> None:
    """Writes a table of questions again with what is heard of them; each row is a session of its own.

    Parts that begin with one of `NOT_SAID` are not the user's: they stay.
    """
    rows = read_table(questions)
    mouth, ear = Mouth(), Ear()
    total = Tables()
    with out.open("w", encoding="utf-8") as file:
        file.write("\t".join(rows[0]) + "\n")
        for row in rows:
            ear.turn()
            parts = row["said"].split(" / ")
            for index, text in enumerate(parts):
                if text[:1] not in NOT_SAID and plain(text):
                    parts[index] = ear.listen(mouth.say(text, speaker))
                    total.add([Unit(word) for word in plain(text).split()], parts[index].split())
            file.write("\t".join((row | {"said": " / ".join(parts)}).values()) + "\n")
            file.flush()
    ear.close()
    print(f"{len(rows)} questions, {total.words} words, {100 * total.errors / max(1, total.words):.1f} % wrong")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.train_builtin_model.hear", description=__doc__)
    parser.add_argument("--minutes", type=float, default=0.0, help="how long to go on listening; 0: only the tables")
    parser.add_argument("--log", type=Path, default=LOG)
    parser.add_argument("--questions", type=Path, help="a table of questions to be heard")
    parser.add_argument("--out", type=Path, help="where the heard questions go")
    parser.add_argument("--voice", default=MINI)
    parser.add_argument("--pace", type=int, default=145, help="words a minute")
    options = parser.parse_args()
    if options.questions:
        if not options.out:
            parser.error("--questions wants --out")
        speak_questions(options.questions, options.out, Speaker(options.voice, options.pace))
    else:
        listen_for(options.minutes, options.log)


if __name__ == "__main__":
    main()
