"""Conversations in which the assistant has functions to call, and some in which none of them fits."""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field

from .chat import Chat, Setting
from .dialogue import DEFAULT_INSTRUCTIONS, Call, Dialogue, Message
from .tool_invention import invent, siblings
from .tool_library import UNDATED, Ask, Chain, Function, Library, articles, stems
from .tool_results import drawn_fields, failure, success
from .tool_shapes import Tool, plain, shape
from .tool_values import Value, choices, invented, split, title
from .tool_wordings import (
    ABILITIES,
    AGAIN,
    ANSWERS,
    ASKS,
    BEFORE,
    FORMS,
    INSTRUCTIONS,
    LEADS,
    PERSONA,
    QUESTION,
    REFUSALS,
    THANKS,
    TRAILS,
    WELCOME,
)

TURNS = {"call": 64, "chat": 12, "refuse": 15, "abilities": 2, "two": 7}
BROAD = {"web_search", "get_fact", "find_article"}
STRANGE = 0.35
"""How many dialogues are about functions that exist nowhere else."""

NOT_KNOWN = re.compile(r"\b(?:don't know|can't|cannot|no internet|not able|without the internet)\b")
VAGUE = {
    "q",
    "x",
    "arg",
    "value",
    "input",
    "n",
    "where",
    "who",
    "when",
    "at",
    "by",
    "to",
    "from",
    "name",
    "about",
    "text",
}


@dataclass
class Scene:
    """What one conversation has: who speaks how, the functions offered, and what was said."""

    rng: random.Random
    setting: Setting
    tools: list[Tool]
    messages: list[Message] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    lower: bool = False

    def words(self) -> set[str]:
        """The topics of the functions offered."""
        return set().union(*(tool.function.words() for tool in self.tools))

    def broad(self) -> bool:
        """Whether a function might serve nearly any question."""
        return any(tool.function.name in BROAD for tool in self.tools)


class ToolTalk:
    """Makes conversations with functions."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat
        self.library = Library()

    def dialogue(self, rng: random.Random) -> Dialogue:
        """One conversation of one to eight turns, with one to six functions.

        Descriptions are long and nothing of them is learned, so they serve several requests.
        """
        setting = self.chat.setting(rng)
        setting.typed = rng.random() < 0.3
        chain = rng.choice(self.library.chains) if self.library.chains and rng.random() < 0.05 else None
        strange = not chain and rng.random() < STRANGE
        functions = [invent(rng)] if strange else [rng.choice(self.library.functions)]
        functions = list(chain.functions) if chain else functions
        wanted = rng.choices([1, 2, 3, 4, 5, 6], [14, 26, 24, 16, 11, 9])[0]
        if strange:
            setting.damage *= 0.4  # a verb misheard cannot be guessed when its neighbour differs by the verb alone
            beside = siblings(functions[0], rng, rng.randint(0, wanted - 1))
            functions += beside
        functions += self.library.others(rng, functions, max(0, wanted - len(functions)))
        taken: set[str] = set()
        tools = [shape(function, rng, taken) for function in functions]
        offered = rng.sample(tools, len(tools))
        scene = Scene(rng, setting, tools, lower=rng.random() < 0.2)
        turns = rng.choices([1, 2, 3, 4, 6, 8], [14, 20, 20, 18, 18, 10])[0]
        kinds = rng.choices(list(TURNS), list(TURNS.values()), k=turns)
        if chain:
            kinds = ["chain"]
        for kind in kinds:
            self._turn(kind, scene, chain)
        return Dialogue(scene.messages, self._instructions(scene), [tool.schema for tool in offered])

    def _instructions(self, scene: Scene) -> str | None:
        rng = scene.rng
        kind = rng.choices(["default", "helper", "persona", "none"], [45, 17, 23, 15])[0]
        persona = PERSONA.get(scene.tools[0].function.domain)
        if kind == "none":
            return None
        if kind == "persona" and persona:
            name = title(invented(rng)) if rng.random() < 0.5 else self.library.pools.draw("brand", rng).told
            return rng.choice(persona).format(name=name, person=self.library.pools.draw("person", rng).told)
        return DEFAULT_INSTRUCTIONS if kind == "default" else rng.choice(INSTRUCTIONS)

    def _turn(self, kind: str, scene: Scene, chain: Chain | None) -> None:
        rng = scene.rng
        if kind == "chain" and chain:
            self._chain(chain, scene)
        elif kind == "call":
            self._call(scene)
        elif kind == "two":
            self._two(scene)
        elif kind == "refuse":
            self._refuse(scene)
        elif kind == "abilities":
            self._say(scene, rng.choice(ABILITIES.split("|")), {})
            scene.messages.append(Message("assistant", f"I can {self._abilities(scene)}."))
        else:
            self._chat(scene)
        if kind in ("call", "two", "chain") and rng.random() < 0.06:
            self._say(scene, rng.choice(THANKS.split("|")), {})
            scene.messages.append(Message("assistant", rng.choice(WELCOME)))

    def _abilities(self, scene: Scene) -> str:
        does = [tool.function.does[0] for tool in scene.tools][:3]
        return does[0] if len(does) == 1 else ", ".join(does[:-1]) + f" and {does[-1]}"

    def _chat(self, scene: Scene) -> None:
        """Ordinary talk about none of the things that the functions are for."""
        topics = scene.words()
        for _ in range(20):
            seen = set(scene.seen)
            messages = self.chat.exchanges(scene.rng, 1, scene.setting, seen)
            text = " ".join(message.text for message in messages)
            if not stems(text) & topics and not (scene.broad() and NOT_KNOWN.search(text)):
                scene.seen.update(seen)
                scene.messages += messages
                return
        self._refuse(scene)

    def _refuse(self, scene: Scene) -> None:
        """A request that none of the functions serves."""
        rng = scene.rng
        topics = scene.words()
        for _ in range(0 if scene.broad() else 40):
            near = self.library.domains.get(scene.tools[0].function.domain, self.library.functions)
            function = rng.choice(near if rng.random() < 0.3 else self.library.functions)
            if rng.random() < 0.15:
                function = invent(rng)
            ask = rng.choice(function.asks)
            said, values = self._request(function, ask, scene)
            if not (function.words() | stems(said)) & topics:
                self._say(scene, said, values, function.about)
                scene.messages.append(Message("assistant", rng.choice(REFUSALS).format(function.does[0])))
                return
        self._call(scene)

    def _request(self, function: Function, ask: Ask, scene: Scene) -> tuple[str, dict[str, Value]]:
        """A request with its values still in braces, and the values that it names."""
        rng = scene.rng
        pattern = ask.pattern.expand(rng, {param.slot: f"{{{param.slot}}}" for param in function.params})
        text = re.sub(r"\s+", " ", "".join(piece.text for piece in pattern)).strip()
        values = {
            param.slot: self.library.pools.draw(param.values, rng)
            for param in function.params
            if f"{{{param.slot}}}" in text
        }
        mark = "=" if ask.mark == "?" and text.split()[0] not in QUESTION else ask.mark
        text = articles(rng.choice(FORMS[mark]).replace("{}", text), values)
        if rng.random() < 0.18:
            text = f"{rng.choice(LEADS)} {text}"
        if rng.random() < 0.07:
            text = f"{text} {rng.choice(TRAILS)}"
        return text, values

    def _say(self, scene: Scene, text: str, values: dict[str, Value], keep: str = "") -> None:
        """The user says something; values stand in braces, and they and `keep` stay readable."""
        if scene.setting.typed:
            scene.messages.append(Message("user", typed(text, values, scene)))
            return
        said = UNDATED.sub("", re.sub(r"\{(\w+)\}", lambda found: values[found[1]].said, text))
        fixed = [text for text in (keep, *(value.said for value in values.values())) if text]
        scene.messages.append(Message("user", self.chat.user(said, scene.rng, scene.setting, fixed)))

    def _call(self, scene: Scene) -> None:
        """A request that a function serves, at times with something missing, at times another one behind."""
        rng = scene.rng
        tool = scene.tools[0] if not scene.messages or rng.random() < 0.4 else rng.choice(scene.tools)
        function = tool.function
        partial = [ask for ask in function.asks if not function.complete(ask)]
        if partial and tool.strict and rng.random() < 0.1:
            ask = rng.choice(partial)
        else:
            ask = rng.choice([ask for ask in function.asks if function.complete(ask)])
        said, values = self._request(function, ask, scene)
        self._say(scene, said, values, function.about)
        self._missing(tool, values, scene)
        self._serve(tool, values, ask.tag, scene)
        while rng.random() < 0.13 and (again := self._again(function, values, scene)):
            self._say(scene, rng.choice(AGAIN.split("|")).replace("{}", f"{{{again}}}"), values)
            self._serve(tool, values, ask.tag, scene)

    def _missing(self, tool: Tool, values: dict[str, Value], scene: Scene) -> None:
        """The assistant asks for what a call needs and the user did not say."""
        for param in tool.function.params:
            if param.required and param.slot not in values:
                kind, inner = split(param.values)
                shown = plain(tool.params[param.slot].name)
                name = plain(param.slot) if shown in VAGUE or len(shown) < 3 else shown
                question = f"{'How many' if kind == 'n' and name.endswith('s') else 'Which'} {name}?"
                if kind == "enum" and len({value for value, _ in choices(inner)}) <= 3:
                    names = list(dict.fromkeys(value.replace("_", " ") for value, _ in choices(inner)))
                    question = f"Which {name}, {', '.join(names[:-1])} or {names[-1]}?"
                question = scene.rng.choice(ASKS.get(param.slot, ASKS.get(kind, [question])))
                scene.messages.append(Message("assistant", question))
                values[param.slot] = self.library.pools.draw(param.values, scene.rng)
                answer = scene.rng.choice(ANSWERS.split("|")).replace("{}", f"{{{param.slot}}}")
                self._say(scene, answer, values)

    def _again(self, function: Function, values: dict[str, Value], scene: Scene) -> str | None:
        """Draws another value for the one thing that was named, if a bare "and Paris" says which is meant."""
        open_ones = [
            param
            for param in function.params
            if param.slot in values and split(param.values)[0] not in ("onoff", "enum", "list", "yn", "f")
        ]
        if len(open_ones) != 1 or open_ones[0].slot in ("message", "text", "task", "day", "time"):
            return None
        values[open_ones[0].slot] = self.library.pools.draw(open_ones[0].values, scene.rng)
        return open_ones[0].slot

    def _invoke(self, tool: Tool, values: dict[str, Value], scene: Scene) -> Call:
        return Call(tool.name, tool.arguments(values, typed=scene.setting.typed))

    def _serve(self, tool: Tool, values: dict[str, Value], tag: str, scene: Scene) -> None:
        """The call, its result, and the reply."""
        rng = scene.rng
        before = rng.choice(BEFORE) if rng.random() < 0.05 else ""
        scene.messages.append(Message("assistant", before, (self._invoke(tool, values, scene),)))
        result, said = self._result(tool, values, tag, scene)
        scene.messages += [Message("tool", result), Message("assistant", said)]

    def _result(self, tool: Tool, values: dict[str, Value], tag: str, scene: Scene) -> tuple[str, str]:
        if scene.rng.random() < 0.06:
            return failure(scene.rng)
        fields = drawn_fields(tool.function, self.library.pools.draw, scene.rng)
        return success(tool, fields | values, tag, scene.rng)

    def _two(self, scene: Scene) -> None:
        """Two calls in one message: one function twice, or two functions."""
        rng = scene.rng
        first = rng.choice(scene.tools)
        function = first.function
        ask = rng.choice([ask for ask in function.asks if function.complete(ask)])
        said, values = self._request(function, ask, scene)
        other = dict(values)
        slot = self._again(function, other, scene)
        if slot and other[slot].told != values[slot].told:
            link = "and the" if f"the {{{slot}}}" in said and rng.random() < 0.6 else "and"
            joined = said.replace(f"{{{slot}}}", f"{{{slot}}} {link} {{other}}", 1)
            self._say(scene, joined, values | {"other": other[slot]}, function.about)
            calls = [(first, values, ask.tag), (first, other, ask.tag)]
        else:
            second = rng.choice(scene.tools)
            if second is first:
                self._call(scene)
                return
            ask2 = rng.choice([ask for ask in second.function.asks if second.function.complete(ask)])
            said2, values2 = self._request(second.function, ask2, scene)
            both = values | {f"{slot}_b": value for slot, value in values2.items()}
            said2 = re.sub(r"\{(\w+)\}", r"{\1_b}", said2)
            self._say(scene, f"{said} {rng.choice(['and', 'and', 'and then', 'and also'])} {said2}", both)
            calls = [(first, values, ask.tag), (second, values2, ask2.tag)]
        scene.messages.append(
            Message("assistant", "", tuple(self._invoke(tool, given, scene) for tool, given, _ in calls))
        )
        results = [self._result(tool, given, tag, scene) for tool, given, tag in calls]
        scene.messages += [Message("tool", text) for text, _ in results]
        scene.messages.append(Message("assistant", " ".join(dict.fromkeys(reply for _, reply in results))))

    def _chain(self, chain: Chain, scene: Scene) -> None:
        """A call whose argument is in the result of the one before."""
        rng = scene.rng
        first, second = scene.tools[:2]
        joined = Function(chain.functions[0].domain, ("chain",), params=chain.params())
        said, values = self._request(joined, rng.choice(chain.asks), scene)
        self._say(scene, said, values)
        scene.messages.append(Message("assistant", "", (self._invoke(first, values, scene),)))
        if rng.random() < 0.1:
            result, reply = failure(rng)
            scene.messages += [Message("tool", result), Message("assistant", reply)]
            return
        fields = drawn_fields(first.function, self.library.pools.draw, rng)
        result, _ = success(first, fields | values, first.function.asks[0].tag, rng)
        scene.messages.append(Message("tool", result))
        values = values | {chain.target: fields[chain.source]}
        self._serve(second, {slot: values[slot] for slot in second.params if slot in values}, "", scene)


def typed(text: str, values: dict[str, Value], scene: Scene) -> str:
    """A request as somebody types it: capitals and a final mark, or neither."""
    text = UNDATED.sub("", re.sub(r"\{(\w+)\}", lambda found: values[found[1]].typed, text))
    if scene.lower:
        return text.lower()
    text = re.sub(r"\bi\b(?=[ ']|$)", "I", text)
    text = text[:1].upper() + text[1:]
    if text[-1:].isalnum() and scene.rng.random() < 0.8:
        asks = re.match(
            r"(?:\w+ )?(?:what|who|how|when|where|which|can|could|would|will|do|does|is|are)\b", text.lower()
        )
        text += "?" if asks else "."
    return text
