"""Conversations under instructions that change how the model speaks or what it knows."""

from __future__ import annotations

import random
from collections.abc import Callable

from .chat import Chat, Setting
from .dialogue import Dialogue, Message
from .instructions_book import Book, Exchange
from .instructions_makers import Makers
from .instructions_rules import Rule, decorate

TRIES = 30
"""How often an ordinary exchange is drawn again because a rule forbids it."""


class InstructedTalk:
    """The family: one or two rules in the instructions, or a wish of the user, and a talk that obeys them."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.book = Book(chat.sources)
        self.makers = make = Makers(self.book, chat)
        self.weights: dict[Callable[[random.Random], Rule], float] = {
            make.name: 11, make.persona: 11, make.one_word: 9, make.yes_no: 3, make.prefix: 11, make.suffix: 6,
            make.style: 8, make.address: 5, make.user_name: 4, make.language: 7, make.no_language: 2,
            make.facts.rule: 25, make.forbid: 5, make.only: 4, make.if_asked: 4, make.greet: 3, make.ask_first: 2,
            make.trigger: 2.5, make.hide: 2,
            make.constant: 3, make.echo: 1.2,
        }  # fmt: skip
        self.second = [make.name, make.name, make.persona, make.facts.rule, make.facts.rule, make.prefix]
        self.second += [make.suffix, make.style, make.user_name, make.address, make.language, make.one_word]

    def dialogue(self, rng: random.Random) -> Dialogue:
        """One conversation of one to five exchanges, seldom more."""
        count = rng.choices([1, 2, 3, 4, 5, 8], [12, 20, 22, 20, 16, 10])[0]
        if rng.random() < 0.06:
            return self._harmless(rng, count)
        if rng.random() < 0.09:
            return self._wished(rng, count + 1)
        if rng.random() < 0.02:
            return self._one_word_now(rng)
        return self.converse(rng, self._rules(rng), count)

    def converse(self, rng: random.Random, rules: list[Rule], count: int) -> Dialogue:
        """A conversation of about `count` exchanges under some rules."""
        setting = self._setting(rng, rules)
        return Dialogue(Conversation(self, rng, setting, rules).messages(count), self.prompt(rng, rules))

    def _rules(self, rng: random.Random) -> list[Rule]:
        rules = [rng.choices(list(self.weights), list(self.weights.values()))[0](rng)]
        if rng.random() < 0.4:
            other = rng.choice(self.second)(rng)
            if fit(rules[0], other):
                rules.append(other)
                third = self.makers.facts.rule(rng)
                if rng.random() < 0.25 and all(fit(rule, third) for rule in rules):
                    rules.append(third)
        return rules

    def _setting(self, rng: random.Random, rules: list[Rule]) -> Setting:
        setting = self.chat.setting(rng)
        setting.me = next((rule.me for rule in rules if rule.me), "Parley")
        setting.one_word = any(rule.one_word for rule in rules)
        return setting

    def _harmless(self, rng: random.Random, count: int) -> Dialogue:
        """Instructions that change nothing, also long ones."""
        setting = self.chat.setting(rng)
        clauses = [self.book.say("harmless", rng), *self._fillers(rng, rng.choice([0, 1, 2, 3, 5, 8]), [])]
        return Dialogue(self.chat.exchanges(rng, count, setting), layout(rng, clauses))

    def _wished(self, rng: random.Random, count: int) -> Dialogue:
        """The user wishes for something, and it holds from then on."""
        said, rule = self.makers.wish(rng)
        setting = self.chat.setting(rng)
        instructions = None
        if rng.random() < 0.6:
            instructions = layout(rng, [self.book.say("harmless", rng), *self._fillers(rng, rng.randint(0, 2), [])])
        before: list[Message] = []
        seen: set[str] = set()
        if rng.random() < 0.4:
            before = self.chat.exchanges(rng, 1, setting, seen)
            if rule.unfit and any(rule.unfit.search(message.text) for message in before):
                before = []
        before += [
            Message("user", self.chat.user(said.user, rng, setting, said.fixed)),
            Message("assistant", said.reply),
        ]
        setting.me, setting.one_word = rule.me or "Parley", rule.one_word
        after = Conversation(self, rng, setting, [rule], seen).messages(count - 1)
        return Dialogue(before + after, instructions)

    def _one_word_now(self, rng: random.Random) -> Dialogue:
        """A single question that asks for a single word, between ordinary ones."""
        setting = self.chat.setting(rng)
        short = self.chat.exchanges(rng, 1, Setting(one_word=True))[:2]
        asked = self.book.raw("wish_one_now", rng, q=short[0].text.lower())
        messages = self.chat.exchanges(rng, 1, setting) if rng.random() < 0.3 else []
        messages += [Message("user", self.chat.user(asked, rng, setting, (short[0].text,))), short[1]]
        if rng.random() < 0.4:
            messages += self.chat.exchanges(rng, 1, setting)
        return Dialogue(messages, self.book.say("harmless", rng) if rng.random() < 0.6 else None)

    def prompt(self, rng: random.Random, rules: list[Rule]) -> str | None:
        """The instructions that hold these rules, among sentences without effect."""
        head = [clause for rule in rules if rule.slot == "who" or rule.me for clause in rule.clauses]
        rest = [list(rule.clauses) for rule in rules if rule.slot != "who" and not rule.me]
        fillers = self._fillers(rng, rng.choices([0, 1, 2, 3, 5, 8], [38, 20, 16, 12, 9, 5])[0], rules)
        groups = [*rest, *([filler] for filler in fillers)]
        rng.shuffle(groups)
        clauses = [clause for group in groups for clause in group]
        if head:
            at = 0 if rng.random() < 0.8 else rng.randint(0, len(clauses))
            clauses[at:at] = head
        elif rng.random() < 0.45:
            clauses.insert(0, self.book.say("harmless", rng))
        return layout(rng, clauses) if clauses else None

    def _fillers(self, rng: random.Random, count: int, rules: list[Rule]) -> list[str]:
        fillers: list[str] = []
        terse = any(rule.one_word or rule.yes_no for rule in rules)
        foreign = any(rule.first for rule in rules)
        while len(fillers) < count:
            filler = self.book.say("filler", rng)
            bad = (terse and "sentence" in filler) or (foreign and "nglish" in filler)
            if not bad and filler not in fillers:
                fillers.append(filler)
        return fillers


class Conversation:
    """Makes the exchanges of a conversation under some rules."""

    def __init__(
        self,
        talk: InstructedTalk,
        rng: random.Random,
        setting: Setting,
        rules: list[Rule],
        seen: set[str] | None = None,
    ) -> None:
        self.talk = talk
        self.rng = rng
        self.setting = setting
        self.rules = rules
        self.seen: set[str] = set() if seen is None else seen
        self.asking = [rule for rule in rules if rule.own]
        self.share = max((rule.share for rule in rules), default=0.0)

    def messages(self, count: int) -> list[Message]:
        """About `count` exchanges."""
        made: list[Message] = []
        for rule in self.rules:
            if rule.opening:
                made += [message for said in rule.opening(self.rng) for message in self._own(said)]
        while len(made) < 2 * count:
            ordinary = None if self.asking and self.rng.random() < self.share else self._ordinary()
            if ordinary is None and not self.asking:
                break
            made += ordinary or self._own(self._ask())
        return self._first(made)

    def _ask(self) -> Exchange:
        rule = self.rng.choices(self.asking, [rule.share + 0.01 for rule in self.asking])[0]
        return self.rng.choice(rule.own)(self.rng)

    def _own(self, said: Exchange) -> list[Message]:
        reply = said.one if self.setting.one_word and said.one else said.reply
        user = self.talk.chat.user(said.user, self.rng, self.setting, [text for text in said.fixed if text])
        return [Message("user", user), Message("assistant", self._decorated(self._changed(user, reply)))]

    def _ordinary(self) -> list[Message] | None:
        """Ordinary exchanges that no rule forbids, changed as the rules want; None where none was found."""
        for _ in range(TRIES):
            seen = set(self.seen)
            found = self.talk.chat.exchanges(self.rng, 1, self.setting, seen)
            pairs = list(zip(found[::2], found[1::2], strict=True))
            unfit = [rule.unfit for rule in self.rules if rule.unfit]
            if any(find.search(f"{user.text} // {reply.text}") for find in unfit for user, reply in pairs):
                continue
            self.seen |= seen
            made: list[Message] = []
            for user, reply in pairs:
                made += [user, Message("assistant", self._decorated(self._changed(user.text, reply.text)))]
            return made
        return None

    def _changed(self, user: str, reply: str) -> str:
        for rule in self.rules:
            if rule.change:
                reply = rule.change(self.rng, user, reply)
        return reply

    def _decorated(self, reply: str) -> str:
        for rule in self.rules:
            if rule.suffix and not rule.prefix:
                reply = decorate(reply, "", rule.suffix)
        for rule in self.rules:
            if rule.prefix:
                reply = decorate(reply, rule.prefix, rule.suffix)
        return reply

    def _first(self, messages: list[Message]) -> list[Message]:
        """Puts before the first reply what the rules want there."""
        first = next((rule.first for rule in self.rules if rule.first), "")
        if first and first[:-1] not in messages[1].text:
            prefix = next((rule.prefix for rule in self.rules if rule.prefix), "")
            text = messages[1].text
            head = decorate("", prefix, "") if prefix else ""
            text = f"{head}{first} {text.removeprefix(head)}"
            messages[1] = Message("assistant", text)
        return messages


def fit(one: Rule, other: Rule) -> bool:
    """Whether two rules may stand together."""
    if one.slot == other.slot or (one.me and other.me):
        return False
    if (one.suffix and other.suffix) or {one.slot, other.slot} == {"who", "style"}:
        return False
    terse = one.one_word or one.yes_no or other.one_word or other.yes_no
    return not terse or ({one.slot, other.slot} <= {"who", "facts", "form"} and not (one.yes_no or other.yes_no))


def layout(rng: random.Random, clauses: list[str]) -> str:
    """The sentences as somebody writes instructions: mostly one after the other, sometimes as lines or a list."""
    clauses = [clause if clause[-1] in ".!?\"'" else f"{clause}." for clause in clauses]
    kind = rng.random()
    if kind < 0.82 or len(clauses) == 1:
        text = " ".join(clauses)
    elif kind < 0.9:
        text = "\n".join(clauses)
    elif kind < 0.95:
        text = "\n".join([clauses[0], *(f"- {clause}" for clause in clauses[1:])])
    else:
        text = "\n".join([clauses[0], "Rules:", *(f"{at}. {clause}" for at, clause in enumerate(clauses[1:], 1))])
    if rng.random() < 0.1:
        text = text.rstrip(".")
    return text[:1].lower() + text[1:] if rng.random() < 0.05 else text
