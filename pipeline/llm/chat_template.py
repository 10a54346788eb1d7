"""A model's own chat template: the messages of a conversation → the text the model was trained on.

Templates are Jinja programs that come with the weights. What people said never passes through them: each message
is stood for by a sentinel, and the text between the sentinels is the template's own. That is how the tokeniser is
told which `<|im_end|>` is a control token and which is something that a user said.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.types import Message

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""For models that bring no template: the form most of them know."""

# Private-use characters: nothing in a template tests for them, trims them or changes them.
_SENTINEL = re.compile("\uf8f0(\\d+)\uf8f1")
_Shadow = dict[str, str]
"""A message as the template sees it: `role`, and a sentinel for `content`."""


class TemplateError(Exception):
    """A template cannot be read, or refuses every form of a conversation."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a rendered prompt: the template's own text, or what a message says."""

    text: str
    is_content: bool


class ChatTemplate:
    """A compiled template."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        """Compiles `source`; `bos` and `eos` are the spellings of the tokens that templates call by these names.

        Raises:
            TemplateError: it is not valid Jinja.
        """
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateError(f"{error}") from error

    def render(self, messages: Sequence[Message]) -> list[Part]:
        """Renders a conversation up to where the assistant's reply begins.

        Empty messages are left out. A template that refuses the conversation as it is gets it in stricter forms:
        neighbours of one role joined and later system messages as the user's; then, the system message in front
        of the user's first.

        Raises:
            TemplateError: it refuses all of them.
        """
        contents = [message.text.strip() for message in messages]
        shadows = [
            {"role": message.role, "content": f"\uf8f0{index}\uf8f1"}
            for index, message in enumerate(messages)
            if contents[index]
        ]
        reason = ""
        for form in _FORMS:
            try:
                text = self._render(form(shadows))
            except Exception as error:
                # Templates are programs: they raise on purpose, and also fail in any way that programs do.
                reason = f"{type(error).__name__}: {error}"
                continue
            if {int(index) for index in _SENTINEL.findall(text)} == {i for i, text in enumerate(contents) if text}:
                return _parts(text, contents)
            reason = "it leaves out messages"
        raise TemplateError(f"The model's chat template does not take this conversation ({reason}).")

    def _render(self, shadows: list[_Shadow]) -> str:
        # Reasoning is silence to a listener, so models that ask are told not to.
        return self._template.render(
            messages=shadows, add_generation_prompt=True, tools=None, enable_thinking=False, **self._tokens
        )


def _parts(text: str, contents: list[str]) -> list[Part]:
    parts = []
    for position, piece in enumerate(_SENTINEL.split(text)):
        if position % 2:
            parts.append(Part(contents[int(piece)], is_content=True))
        elif piece:
            parts.append(Part(piece, is_content=False))
    return parts


def _as_it_is(shadows: list[_Shadow]) -> list[_Shadow]:
    return shadows or [{"role": "user", "content": ""}]


def _alternating(shadows: list[_Shadow]) -> list[_Shadow]:
    merged: list[_Shadow] = []
    for shadow in shadows:
        late = shadow["role"] == "system" and any(earlier["role"] != "system" for earlier in merged)
        role = "user" if late else shadow["role"]
        if merged and merged[-1]["role"] == role:
            merged[-1] = {"role": role, "content": f"{merged[-1]['content']}\n\n{shadow['content']}"}
        else:
            merged.append({"role": role, "content": shadow["content"]})
    return _as_it_is(merged)


def _without_system(shadows: list[_Shadow]) -> list[_Shadow]:
    folded = _alternating([shadow | {"role": "user"} if shadow["role"] == "system" else shadow for shadow in shadows])
    if folded[0]["role"] != "user":
        folded.insert(0, {"role": "user", "content": ""})
    return folded


_FORMS: tuple[Callable[[list[_Shadow]], list[_Shadow]], ...] = (_as_it_is, _alternating, _without_system)


class _Generation(Extension):
    """`{% generation %}…{% endgeneration %}` marks the assistant's text for training; here it means nothing."""

    tags = {"generation"}  # noqa: RUF012 - so declared by Jinja

    def parse(self, parser: Parser) -> nodes.Node | list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _environment() -> ImmutableSandboxedEnvironment:
    """The Jinja that templates are written for: the one of Hugging Face's `apply_chat_template`."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", _Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
    return environment


def _refuse(message: str) -> None:
    raise TemplateError(message)


def _to_json(value: Any, indent: int | None = None, **_options: object) -> str:
    """Jinja's own `tojson` escapes for HTML, which no model was trained on."""
    return json.dumps(value, ensure_ascii=False, indent=indent)
