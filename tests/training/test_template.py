"""What training shows the model is what Parley's engine shows it later."""

import json
import random

import pytest

from pipeline.config import DEFAULT_INSTRUCTIONS as SERVERS_INSTRUCTIONS
from pipeline.llm.calls.forms import HERMES, form_of
from pipeline.llm.chat_template import ChatTemplate
from pipeline.types import Message, Tool, ToolCall
from scripts.train_builtin_model.dialogue import DEFAULT_INSTRUCTIONS, Call, Dialogue
from scripts.train_builtin_model.dialogue import Message as Said
from scripts.train_builtin_model.dialogues import Dialogues, described_by_hand
from scripts.train_builtin_model.template import CHAT_TEMPLATE, call_text, rendered


@pytest.fixture(scope="module")
def dialogues() -> Dialogues:
    return Dialogues(11)


def for_the_engine(dialogue: Dialogue) -> tuple[list[Message], list[Tool]]:
    """A dialogue as a session gives it to an engine."""
    messages = [Message("system", dialogue.instructions)] if dialogue.instructions else []
    orders = {tool["name"]: list(tool["parameters"].get("properties", {})) for tool in dialogue.tools}
    waiting: list[str] = []
    for said in dialogue.messages:
        calls = tuple(
            ToolCall(f"call_{len(messages)}_{at}", call.name, arguments_of(call, orders[call.name]))
            for at, call in enumerate(said.calls)
        )
        waiting += [call.id for call in calls]
        if said.role == "tool":
            messages.append(Message("tool", said.text, call_id=waiting.pop(0) if waiting else "unknown"))
        else:
            messages.append(Message("user" if said.role == "user" else "assistant", said.text, calls))
    tools = [Tool(tool["name"], tool.get("description", ""), tool["parameters"]) for tool in dialogue.tools]
    return messages, tools


def arguments_of(call: Call, order: list[str]) -> str:
    written = call_text(call, order)
    return json.dumps(json.loads(written.removeprefix(HERMES.opening).removesuffix(HERMES.end))["arguments"])


@pytest.mark.parametrize("family", ["talk", "tools", "instructions", "memory", "drills", "play"])
def test_the_template_writes_what_training_writes(family: str, dialogues: Dialogues) -> None:
    template = ChatTemplate(CHAT_TEMPLATE)
    for _ in range(60):
        dialogue = dialogues.dialogue(family)
        trained = "".join(f"<|im_start|>{part.role}\n{part.text}<|im_end|>\n" for part in rendered(dialogue))
        shown = "".join(part.text for part in template.render(*for_the_engine(dialogue)))
        assert shown == trained + "<|im_start|>assistant\n"


def test_the_template_knows_tools_and_calls_them_as_hermes_does() -> None:
    template = ChatTemplate(CHAT_TEMPLATE)
    assert template.knows_tools
    assert form_of(template.call_text) == HERMES


def test_functions_described_by_hand_are_in_the_instructions_and_the_calls_in_the_text() -> None:
    tool = {"type": "function", "name": "zorb", "description": "Zorbs.", "parameters": {"type": "object"}}
    messages = [Said("user", "zorb it"), Said("assistant", "", (Call("zorb", {}),)), Said("tool", "ok")]
    made = described_by_hand(Dialogue(messages, "Be brief.", [tool]), random.Random(0))
    assert made.instructions is not None
    assert not made.tools
    assert made.instructions.startswith("Be brief.\n\n")
    assert '"name": "zorb"' in made.instructions
    assert made.messages[1] == Said("assistant", call_text(Call("zorb", {}), []))


def test_training_knows_the_instructions_that_the_server_gives() -> None:
    assert DEFAULT_INSTRUCTIONS == SERVERS_INSTRUCTIONS
