"""Small games and deductions with what was said before."""

from __future__ import annotations

from collections.abc import Callable

from .memory_script import Script
from .memory_text import Values, Wordings, start
from .number_words import words

COUNTED = "apples eggs books coins cats pencils cakes balls flowers stamps chairs cups marbles oranges stones cards"
COMPARED = [
    ("taller", "tallest", "tall"), ("faster", "fastest", "fast"), ("stronger", "strongest", "strong"),
    ("smaller", "smallest", "small"), ("richer", "richest", "rich"), ("younger", "youngest", "young"),
    ("older", "oldest", "old"), ("heavier", "heaviest", "heavy"), ("louder", "loudest", "loud"),
    ("braver", "bravest", "brave"), ("slower", "slowest", "slow"), ("happier", "happiest", "happy"),
]  # fmt: skip
ALL = [
    ("bloops", "bloop", "green"), ("robots", "robot", "clever"), ("cats", "cat", "curious"),
    ("pirates", "pirate", "brave"), ("zinkies", "zinky", "tall"), ("birds", "bird", "noisy"),
    ("dragons", "dragon", "friendly"), ("doctors", "doctor", "busy"), ("wugs", "wug", "blue"),
    ("sailors", "sailor", "strong"), ("giants", "giant", "hungry"), ("mice", "mouse", "quiet"),
]  # fmt: skip
NTH = ["first", "second", "third", "fourth"]


class Games:
    """Writes small games."""

    def __init__(self, wordings: Wordings, values: Values) -> None:
        self.wordings = wordings
        self.values = values
        self.games: list[tuple[Callable[[Script], None], float]] = [
            (self._repeat, 20), (self._times, 8), (self._backwards, 4), (self._list, 18), (self._suitcase, 5),
            (self._have, 10), (self._ages, 9), (self._compare, 8), (self._where, 10), (self._gave, 9),
            (self._all, 4), (self._after, 4), (self._code_word, 5), (self._mean, 6),
            (self._wants, 8), (self._go_on, 6), (self._limit, 7),
        ]  # fmt: skip

    def write(self, script: Script) -> None:
        """One or two games."""
        script.gap((60, 25, 15))
        functions, weights = zip(*self.games, strict=True)
        for _ in range(script.rng.choice([1, 1, 2])):
            script.rng.choices(functions, weights)[0](script)

    def _draw(self, script: Script, pool: str, slots: dict[str, str]) -> str:
        return self.wordings.draw(pool, script.rng, slots)

    def _say(self, script: Script, ask: str, reply: str, slots: dict[str, str]) -> None:
        fixed = [value for value in slots.values() if value]
        script.say(self._draw(script, ask, slots), self._draw(script, reply, slots), fixed)

    def _words(self, script: Script, count: int) -> list[str]:
        drawn: list[str] = []
        while len(drawn) < count:
            word = self.values.draw("words", script.rng)
            if word not in drawn:
                drawn.append(word)
        return drawn

    def _repeat(self, script: Script) -> None:
        rng = script.rng
        chance = rng.random()
        if chance < 0.55:
            text = " ".join(self._words(script, rng.choice([1, 1, 1, 2, 2, 3, 4, 5])))
        elif chance < 0.7:
            text = f"{self.values.name(rng)} is in {self.values.draw('rooms', rng)}"
        elif chance < 0.85:
            text = self.values.draw("notes", rng)
        else:
            text = self.values.draw("codes", rng)
        ask = self._draw(script, "repeat", {"words": text})
        script.say(ask, f"{start(text)}.", [text])

    def _times(self, script: Script) -> None:
        count = script.rng.randint(2, 6)
        word = self.values.draw(script.rng.choice(["words", "words", "animals", "names"]), script.rng)
        slots = {"word": word, "count": words(count)}
        script.say(self._draw(script, "times", slots), start(", ".join([word] * count)) + ".", list(slots.values()))

    def _backwards(self, script: Script) -> None:
        drawn = self._words(script, script.rng.choice([2, 3, 3, 4]))
        slots = {"words": " ".join(drawn)}
        reply = start(", ".join(reversed(drawn))) + "."
        script.say(self._draw(script, "backwards", slots), reply, [slots["words"]])

    def _list(self, script: Script) -> None:
        rng = script.rng
        pool = rng.choice(["words", "words", "words", "buys"])
        drawn = self._words(script, 3) if pool == "words" else rng.sample(self.values.pools["buys"], 3)
        slots = {"words": rng.choice([" ", " and "] if pool == "words" else [" and "]).join(drawn)}
        if script.setting.typed and rng.random() < 0.7:
            slots["words"] = ", ".join(drawn)
        slots["list"] = ", ".join(drawn)
        self._say(script, "list_tell", "list_ack", slots)
        if rng.random() < 0.25:
            more = self._words(script, 1)[0]
            if more not in drawn:
                drawn.append(more)
                self._say(script, "list_add", "list_ack", {"word": more, "list": ", ".join(drawn)})
        script.gap((40, 25, 20, 10, 5))
        for kind in rng.sample(["all", "all", "nth", "nth", "count", "in"], rng.choice([1, 1, 2])):
            self._list_ask(script, drawn, kind)

    def _list_ask(self, script: Script, drawn: list[str], kind: str) -> None:
        rng = script.rng
        if kind == "all":
            self._say(script, "list_ask", "list_answer", {"list_start": start(", ".join(drawn))})
        elif kind == "nth":
            at = rng.randrange(len(drawn))
            nth = "last" if at == len(drawn) - 1 and rng.random() < 0.4 else NTH[at]
            self._say(script, "list_nth_ask", "list_nth_answer", {"nth": nth, "word": drawn[at]})
        elif kind == "count":
            self._say(script, "list_count_ask", "list_count_answer", {"count": words(len(drawn))})
        else:
            word = rng.choice([*drawn, *self._words(script, 3)])
            self._say(script, "list_in_ask", "list_in_yes" if word in drawn else "list_in_no", {"word": word})

    def _suitcase(self, script: Script) -> None:
        rng = script.rng
        things = rng.sample([*self.values.pools["things"], *self.values.pools["gifts"]], 8)
        packed = [things.pop()]
        ask = self._draw(script, "suitcase", {"item": packed[0]})
        for _ in range(rng.choice([1, 2, 2, 3])):
            fixed = list(packed)
            packed.append(things.pop())
            script.say(ask, self._draw(script, "suitcase_reply", {"items": " and ".join(packed)}), fixed)
            packed.append(things.pop())
            ask = self._draw(script, "suitcase_on", {"items": " and ".join(packed)})

    def _have(self, script: Script) -> None:
        rng = script.rng
        less = rng.random() < 0.4
        x, y = rng.randint(1, 12), rng.randint(1, 10)
        if less:
            x, y = max(x, y) + 1, min(x, y)
        z = x - y if less else x + y
        slots = {"x": words(x), "y": words(y), "z": words(z), "things": rng.choice(COUNTED.split())}
        x = max(x, 2)
        slots["x"], slots["z"] = words(x), words(x - y if less else x + y)
        answer = self._draw(script, "have_answer", slots)
        if slots["z"] == "one":
            answer = "You have one left."
        told = self._draw(script, "have_less" if less else "have_and", slots)
        ask = self._draw(script, "have_ask", slots)
        fixed = [slots["x"], slots["y"], slots["things"]]
        if rng.random() < 0.6:
            script.say(f"{told} {ask}", answer, fixed)
        else:
            script.say(told, "I see.", fixed)
            script.say(ask, answer, fixed)

    def _ages(self, script: Script) -> None:
        rng = script.rng
        a, b = self.values.names(rng, 2)
        x, y = rng.sample(range(2, 90), 2)
        slots = {"a": a, "b": b, "x": words(x), "y": words(y)}
        slots |= {"old": a if x > y else b, "young": b if x > y else a}
        kind = rng.choice(["older", "younger"])
        told, ask = self._draw(script, "ages_two", slots), self._draw(script, f"{kind}_ask", slots)
        answer = self._draw(script, f"{kind}_answer", slots)
        if "est" in ask:
            answer = answer.replace("older", "the oldest").replace("younger", "the youngest")
        fixed = [a, b, slots["x"], slots["y"], "older", "younger", "oldest", "youngest", "first", "later"]
        if rng.random() < 0.5:
            script.say(f"{told} {ask}", answer, fixed)
        else:
            script.say(told, self._draw(script, "told_ack", {}), fixed)
            script.gap((70, 20, 10))
            script.say(ask, answer, fixed)
        if rng.random() < 0.4:
            who = rng.choice([a, b])
            self._say(script, "age_of_ask", "age_of_answer", {"who": who, "age": words(x if who == a else y)})

    def _compare(self, script: Script) -> None:
        rng = script.rng
        a, b, c = self.values.names(rng, 3)
        more, most, base = rng.choice(COMPARED)
        slots = {"a": a, "b": b, "c": c, "more": more, "most": most, "base": base}
        three = rng.random() < 0.4
        told = self._draw(script, "compare_three" if three else "compare_tell", slots)
        ask = self._draw(script, "compare_most_ask" if three else "compare_ask", slots)
        answer = self._draw(script, "compare_most_answer" if three else "compare_answer", slots)
        self._told_asked(script, told, ask, answer, [a, b, c, more, most])

    def _told_asked(self, script: Script, told: str, ask: str, answer: str, fixed: list[str]) -> None:
        """Something told and then asked for, in one breath or in two."""
        if script.rng.random() < 0.45:
            script.say(f"{told} {ask}", answer, fixed)
            return
        script.say(told, self._draw(script, "told_ack", {}), fixed)
        script.gap((70, 20, 10))
        script.say(ask, answer, fixed)

    def _where(self, script: Script) -> None:
        rng = script.rng
        a, b = self.values.names(rng, 2)
        place, place2 = rng.sample([room for room in self.values.pools["rooms"] if room.startswith("the ")], 2)
        slots = {"a": a, "b": b, "place": place, "place2": place2}
        told = self._draw(script, rng.choice(["where_tell", "where_two"]), slots)
        kind = rng.choices(["where", "other", "who_in", "unknown"], [5, 2, 2, 1])[0]
        if kind == "other" and b in told:
            slots |= {"a": b, "place": place2}
        if kind == "unknown":
            slots["a"] = self.values.names(rng, 1)[0]
            if slots["a"] in (a, b):
                return
        ask = self._draw(script, "who_in_ask" if kind == "who_in" else "where_ask", slots)
        answer = self._draw(script, "where_unknown" if kind == "unknown" else "where_answer", slots)
        self._told_asked(script, told, ask, answer, [a, b, slots["a"], place, place2])

    def _gave(self, script: Script) -> None:
        a, b = self.values.names(script.rng, 2)
        thing = script.rng.choice([*COUNTED.split()[:3], *"ball key ring book letter map hat ticket cake".split()])
        slots = {"a": a, "b": b, "thing": f"the {thing}"}
        told = self._draw(script, "gave", slots)
        kind = script.rng.choice(["gave", "gave", "giver"])
        ask, answer = self._draw(script, f"{kind}_ask", slots), self._draw(script, f"{kind}_answer", slots)
        self._told_asked(script, told, ask, answer, [a, b, slots["thing"]])

    def _all(self, script: Script) -> None:
        kinds, kind, quality = script.rng.choice(ALL)
        slots = {"a": self.values.names(script.rng, 1)[0], "kinds": kinds, "kind": kind, "quality": quality}
        told, ask = self._draw(script, "all_are", slots), self._draw(script, "all_are_ask", slots)
        answer = self._draw(script, "all_are_answer", slots)
        if ask.startswith(("what", "so what")):
            answer = answer.removeprefix("Yes, ")
        self._told_asked(script, told, ask, answer, list(slots.values()))

    def _after(self, script: Script) -> None:
        a, b = self.values.names(script.rng, 2)
        slots = {"a": a, "b": b}
        told, ask = self._draw(script, "after_tell", slots), self._draw(script, "after_ask", slots)
        self._told_asked(script, told, ask, self._draw(script, "after_answer", slots), [a, b])

    def _code_word(self, script: Script) -> None:
        word, other = self._words(script, 2)
        slots = {"word": word, "other": other}
        self._say(script, "code_word", "code_word_ack", slots)
        script.gap((70, 20, 10))
        script.say(word, f"{start(other)}!", [word])

    def _mean(self, script: Script) -> None:
        word, other = self._words(script, 2)
        if script.rng.random() < 0.5:
            word = self.values.draw("petnames", script.rng).lower()
        slots = {"word": word, "word_start": start(word), "other": other}
        self._say(script, "mean_tell", "mean_ack", slots)
        script.gap()
        self._say(script, "mean_ask", "mean_answer", slots)

    def _wants(self, script: Script) -> None:
        """Who ordered what."""
        rng = script.rng
        a, b = self.values.names(rng, 2)
        x, y = rng.sample([*self.values.pools["foods"], *self.values.pools["drinks"]], 2)
        slots = {"a": a, "b": b, "x": x, "y": y}
        told = self._draw(script, "wants_tell", slots)
        who, what = rng.choice([(a, x), (b, y)])
        slots |= {"who": who, "what": what, "what_start": start(what)}
        kind = rng.choice(["wants", "wants", "who_wants"])
        ask, answer = self._draw(script, f"{kind}_ask", slots), self._draw(script, f"{kind}_answer", slots)
        answer = answer.replace(" is for", " are for") if what.endswith("s") else answer
        self._told_asked(script, told, ask, answer, [a, b, x, y])

    def _go_on(self, script: Script) -> None:
        """Goes on with a row of days, months, numbers or letters."""
        rng = script.rng
        pools = self.values.pools
        rows = [pools["days"], pools["months"], list("ABCDEFGHIJKLMNOPQRSTUVWXYZ")]
        rows += [[words(value) for value in range(step, 13 * step, step)] for step in (1, 1, 2, 5, 10)]
        row = rng.choice(rows)
        at = rng.randrange(len(row) - 3)
        given = row[at : at + 3]
        slots = {"words": " ".join(given).lower(), "next": start(row[at + 3])}
        script.say(self._draw(script, "go_on", slots), self._draw(script, "go_on_answer", slots), given)

    def _limit(self, script: Script) -> None:
        """Why something can't be done."""
        kind = script.rng.choice(["limit_time", "limit_weather", "limit_device"])
        script.say(self._draw(script, kind, {}), self._draw(script, f"{kind}_reply", {}))
        script.say(self._draw(script, "limit_ask", {}), self._draw(script, f"{kind}_why", {}))
