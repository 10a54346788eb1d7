"""Jokes, riddles, facts and the like, asked for in a row, guessed at, laughed and groaned at, and never told twice.

What is said is in `data/play.txt`, what is told in the tables; here the turns are strung together.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from .chat import Chat, Setting, sentence_case
from .deck import Deck
from .dialogue import Dialogue, Message
from .grammar import join
from .sources import Row

TABLES = {
    "joke": "jokes",
    "setup": "jokes",
    "riddle": "riddles",
    "fact": "facts",
    "twister": "twisters",
    "proverb": "proverbs",
    "compliment": "compliments",
    "quiz": "quiz",
    "knock": "knocks",
}
SHARES = {
    "joke": 34,
    "setup": 8,
    "riddle": 26,
    "fact": 20,
    "twister": 3,
    "proverb": 6,
    "compliment": 4,
    "quiz": 10,
    "knock": 5,
    "door": 3,
    "theirs": 3,
    "their_riddle": 3,
}
"""How often each game is played; the last three are begun by the user."""


@dataclass
class Table:
    """One conversation in the making."""

    rng: random.Random
    setting: Setting
    seen: set[str] = field(default_factory=set)
    messages: list[Message] = field(default_factory=list)


class Play:
    """A family of conversations in which things are told one after the other."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        tables = chat.sources.tables
        self.decks = {kind: Deck(tables[name]) for kind, name in TABLES.items()}
        self.decks["setup"] = Deck([row for row in tables["jokes"] if row["once"].endswith("?")])
        self.answers = {kind: [row["answer"] for row in tables[TABLES[kind]]] for kind in ("riddle", "quiz")}

    def dialogue(self, rng: random.Random) -> Dialogue:
        """One conversation: now and then something else first, one or two games, an end."""
        table = Table(rng, self.chat.setting(rng))
        if rng.random() < 0.25:
            self._between(table)
        for _ in range(rng.choices([1, 2, 3], [70, 22, 8])[0]):
            self._game(table, rng.choices(list(SHARES), list(SHARES.values()))[0])
        chance = rng.random()
        if chance < 0.2:
            self._say(table, "finish", {})
        elif chance < 0.4:
            self._between(table)
        return Dialogue(table.messages, self.chat.instructions(rng, table.setting))

    def _deal(self, table: Table, kind: str) -> Row:
        """The next row that the conversation has not had; it has it now."""
        row = self.decks[kind].deal(table.rng, lambda row: row["once"] not in table.seen)
        table.seen.add(row["once"])
        return row

    def _between(self, table: Table) -> None:
        table.messages += self.chat.exchanges(table.rng, 1, table.setting, table.seen)

    def _game(self, table: Table, kind: str) -> None:
        """One game: several things of a kind in a row."""
        if kind in ("door", "theirs", "their_riddle"):
            getattr(self, f"_{kind}")(table)
            return
        count = table.rng.choices([1, 2, 3, 4, 5, 6, 7, 8], [26, 24, 18, 12, 8, 5, 4, 3])[0]
        for turn in range(count):
            asked = "another" if turn and table.rng.random() < 0.8 else kind
            self._tell(table, kind, asked)
            if turn + 1 < count and table.rng.random() < 0.06:
                self._between(table)
                self._tell(table, kind, kind)

    def _tell(self, table: Table, kind: str, asked: str) -> None:
        """One thing told, with what is said about it."""
        row = self._deal(table, kind)
        self._hear(table, asked, row)
        self._answer(table, kind, row)
        if kind in ("riddle", "quiz"):
            self._guess(table, kind, row)
        elif kind == "setup":
            self._say(table, "why", row)
        elif kind == "knock":
            self._say(table, "there", row)
            self._say(table, "who", row)
        self._comment(table, kind, row)

    def _comment(self, table: Table, kind: str, row: Row) -> None:
        chance = table.rng.random()
        if kind in ("joke", "setup", "knock"):
            if chance < 0.2:
                self._say(table, "laugh", row)
            elif chance < 0.32:
                self._groan(table, kind)
        elif kind == "proverb" and chance < 0.4:
            self._say(table, "meaning", row)
        elif kind == "fact" and chance < 0.2:
            self._say(table, "marvel", row)
        elif kind == "compliment" and chance < 0.3:
            self._say(table, "flattered", row)

    def _groan(self, table: Table, kind: str) -> None:
        """A bad joke: another is offered, and taken or not."""
        self._say(table, "groan", {})
        chance = table.rng.random()
        if chance < 0.5:
            row = self._deal(table, kind)
            self._hear(table, "retry", row)
            self._answer(table, kind, row)
            if kind == "setup":
                self._say(table, "why", row)
            elif kind == "knock":
                self._say(table, "there", row)
                self._say(table, "who", row)
        elif chance < 0.65:
            self._say(table, "refuse", {})

    def _guess(self, table: Table, kind: str, row: Row) -> None:
        """Guesses at a question until it is answered, now and then with a hint."""
        rng = table.rng
        answer = row["answer"]
        letter = re.sub(r"^(?:an?|the|your|are) ", "", answer)[0].upper()
        slots = row | {"letter": letter}
        tried = {answer}
        hinted = False
        for _ in range(rng.choices([0, 1, 2, 3], [52, 28, 14, 6])[0]):
            if not hinted and rng.random() < 0.35:
                hinted = True
                self._say(table, "hint", slots)
                continue
            wrong = rng.choice([other for other in self.answers[kind] if other not in tried])
            tried.add(wrong)
            self._hear(table, "guess", {"guess": bare(wrong, rng)}, [wrong, bare_of(wrong)])
            self._answer(table, "wrong", {})
        if rng.random() < 0.55:
            self._hear(table, "guess", {"guess": bare(answer, rng)}, [answer, bare_of(answer)])
            self._answer(table, "right", slots)
        else:
            self._say(table, "tell", slots)

    def _door(self, table: Table) -> None:
        """The user knocks; the visitor may be anybody, so that the name is copied."""
        rng = table.rng
        row = self._deal(table, "knock")
        if rng.random() < 0.6:
            name = self.chat.sources.draw("people", rng)["user"] if rng.random() < 0.5 else self._word(rng).capitalize()
            row = {"once": name, "punch": f"{name} {rng.choice(['who knocks at your door', 'you let me in'])}"}
        self._say(table, "door", row)
        self._say(table, "visitor", row, [row["once"]])
        self._say(table, "applause", row)

    def _word(self, rng: random.Random) -> str:
        return rng.choice(self.chat.sources.tables["words"])["word"]

    def _theirs(self, table: Table) -> None:
        """The user tells a joke that Parley knows, with or without the end."""
        if table.rng.random() < 0.6:
            self._say(table, "theirs", {})
        row = self._deal(table, "setup")
        self._user(table, row["once"])
        table.messages.append(Message("assistant", row["punch"]))

    def _their_riddle(self, table: Table) -> None:
        """The user asks a riddle that Parley knows."""
        if table.rng.random() < 0.6:
            self._say(table, "their_riddle", {})
        row = self._deal(table, "riddle")
        self._user(table, row["once"])
        self._answer(table, "tell", row)

    def _say(self, table: Table, name: str, slots: Row, fixed: list[str] | None = None) -> None:
        self._hear(table, name, slots, fixed)
        self._answer(table, name, slots)

    def _hear(self, table: Table, name: str, slots: Row, fixed: list[str] | None = None) -> None:
        turn = self.chat.systems[f"system_play_{name}"].turns[0]
        said = join(table.rng.choice(turn.asks).expand(table.rng, {"me": table.setting.me} | slots))
        self._user(table, said, fixed)

    def _user(self, table: Table, said: str, fixed: list[str] | None = None) -> None:
        if not table.setting.typed or table.rng.random() < 0.5:
            said = said.lower().rstrip("?.!")
        heard = self.chat.user(said, table.rng, table.setting, fixed or [])
        table.messages.append(Message("user", heard))

    def _answer(self, table: Table, name: str, slots: Row) -> None:
        turn = self.chat.systems[f"system_play_{name}"].turns[0]
        reply = join(table.rng.choice(turn.replies).expand(table.rng, slots))
        table.messages.append(Message("assistant", sentence_case(reply)))


def bare_of(answer: str) -> str:
    """An answer without its article."""
    return re.sub(r"^(?:an?|the) ", "", answer)


def bare(answer: str, rng: random.Random) -> str:
    """An answer as somebody may say it, with its article, another, or none."""
    word = bare_of(answer)
    if word == answer:
        return answer
    return rng.choice([answer, answer, word, word, f"the {word}"])
