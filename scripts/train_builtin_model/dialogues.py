"""Training dialogues: an endless, seeded mixture of the families of conversation."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import NamedTuple

from .chat import Chat
from .dialogue import DEFAULT_INSTRUCTIONS, Dialogue, Family, Message
from .drills import Drills
from .instructions import InstructedTalk
from .memory import MemoryTalk
from .play import Play
from .reserve import offends
from .template import listing, said
from .tools import ToolTalk

CUT = 0.04
"""How many replies are cut short in the history, as after an interruption; they are seen but not learned."""

BY_HAND = 0.1
"""How often functions are described in the instructions instead of being handed to the template."""

MANUALS = [
    "# Tools\n\nThese functions can be called, each described by its JSON schema:\n<tools>\nTOOLS\n</tools>\n\n"
    "To call one, write nothing but its name and its arguments as JSON between these tags, once for each call:\n"
    '<tool_call>\n{"name": "the function", "arguments": {"an argument": "its value"}}\n</tool_call>\n'
    "What it returns comes back between <tool_response> tags.",
    "You have access to functions. Their signatures stand within <tools></tools>:\n<tools>\nTOOLS\n</tools>\n\n"
    "For each call return a JSON object with the name and the arguments within <tool_call></tool_call>:\n"
    '<tool_call>\n{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>',
    "You can use these tools:\n<tools>\nTOOLS\n</tools>\nCall them with <tool_call> tags when they help.",
    'Tools:\nTOOLS\n\nTo use a tool answer with\n<tool_call>\n{"name": "...", "arguments": {...}}\n</tool_call>',
    "Functions:\nTOOLS",
]


class Talk:
    """Ordinary conversation, with the instructions that Parley gives, others without effect, or none."""

    def __init__(self, chat: Chat) -> None:
        self.chat = chat

    def dialogue(self, rng: random.Random) -> Dialogue:
        """One conversation of one to sixteen exchanges."""
        count = rng.choices([1, 2, 3, 4, 5, 8, 14], [24, 24, 20, 14, 10, 6, 2])[0]
        setting = self.chat.setting(rng)
        instructions = self.chat.instructions(rng, setting)
        return Dialogue(self.chat.exchanges(rng, count, setting), instructions)


class Share(NamedTuple):
    """A family and how many of a hundred dialogues it makes."""

    family: Family
    share: float


class Dialogues:
    """An endless, seeded source of conversations that share no five words in a row with the evaluation's questions."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        chat = Chat()
        self.families = {
            "talk": Share(Talk(chat), 45),
            "tools": Share(ToolTalk(chat), 20),
            "instructions": Share(InstructedTalk(chat), 19),
            "memory": Share(MemoryTalk(chat), 11),
            "drills": Share(Drills(chat, DEFAULT_INSTRUCTIONS), 13),
            "play": Share(Play(chat), 3),
        }

    def __iter__(self) -> Iterator[Dialogue]:
        names = list(self.families)
        shares = [self.families[name].share for name in names]
        while True:
            yield self.dialogue(self.rng.choices(names, shares)[0])

    def dialogue(self, family: str) -> Dialogue:
        """One conversation of a family."""
        while True:
            made = self.families[family].family.dialogue(self.rng)
            if not any(message.role == "user" and offends(message.text) for message in made.messages):
                break
        made.messages[:-1] = [self._maybe_cut(message) for message in made.messages[:-1]]
        if made.tools and self.rng.random() < BY_HAND:
            return described_by_hand(made, self.rng)
        return made

    def _maybe_cut(self, message: Message) -> Message:
        if message.role != "assistant" or message.calls or self.rng.random() > CUT:
            return message
        words = message.text.split()
        return Message("cut", " ".join(words[: self.rng.randint(1, len(words))]))


def described_by_hand(dialogue: Dialogue, rng: random.Random) -> Dialogue:
    """The same conversation with its functions in the instructions, as people write them who know no template."""
    tools = [listing(tool) if rng.random() < 0.7 else listing(tool)["function"] for tool in dialogue.tools]
    listed = "\n".join(json.dumps(tool, ensure_ascii=False) for tool in tools)
    manual = rng.choice(MANUALS).replace("TOOLS", listed)
    instructions = f"{dialogue.instructions}\n\n{manual}" if dialogue.instructions else manual
    orders = {tool["name"]: list(tool["parameters"].get("properties", {})) for tool in dialogue.tools}
    messages = [message._replace(text=said(message, orders), calls=()) for message in dialogue.messages]
    return Dialogue(messages, instructions)
