"""A model's own chat template: the messages of a conversation → the text the model was trained on.

Templates are Jinja programs that come with the weights. What people said never passes through them: each message
is stood for by a sentinel, and the text between the sentinels is the template's own. That is how the tokeniser is
told which `<|im_end|>` is a control token and which is something that a user said, or a tool.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from pipeline.llm.markup import REASONING
from pipeline.llm.template_messages import (
    SENTINEL,
    Shadow,
    Texts,
    forms,
    is_complete,
    shadows_of,
    to_json,
    tool_shadows,
)
from pipeline.types import Image, Message, Tool, ToolCall

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
"""For models that bring no template: the form most of them know."""

_PROBE = "parley_probe"
"""The name of a tool that nobody has: if it shows, the template shows tools."""


class TemplateError(Exception):
    """A template cannot be read, or refuses every form of a conversation."""


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a rendered prompt: the template's own text, what a message says, or an image in it."""

    text: str
    is_content: bool
    image: Image | None = None


class ChatTemplate:
    """A compiled template."""

    def __init__(self, source: str, *, bos: str = "", eos: str = "") -> None:
        """Compiles `source`; `bos` and `eos` are the spellings of the tokens that templates call by these names.

        Raises:
            TemplateError: it is not valid Jinja.
        """
        self._source = source
        self._tokens = {"bos_token": bos, "eos_token": eos}
        try:
            self._template = _environment().from_string(source)
        except jinja2.TemplateError as error:
            raise TemplateError(f"{error}") from error

    def render(self, messages: Sequence[Message], tools: Sequence[Tool] = (), *, thinking: bool = False) -> list[Part]:
        """Renders a conversation up to where the assistant's reply begins.

        Empty messages are left out. A template that refuses the conversation as it is, or leaves a part of it out,
        gets it in other forms (template_messages.py). `thinking` is what templates that ask are told.

        Raises:
            TemplateError: it refuses all of them.
        """
        texts = Texts()
        shadows, offered = shadows_of(messages, texts), tool_shadows(tools, texts)
        reason = ""
        for form, with_tools in forms(shadows, offered, knows_tools=not tools or self.knows_tools):
            try:
                text = self._render(form, with_tools, thinking)
            except Exception as error:
                # Templates are programs: they raise on purpose, and also fail in any way that programs do.
                reason = f"{type(error).__name__}: {error}"
                continue
            if is_complete(text, shadows, form):
                return _parts(text, texts)
            reason = "it leaves out messages"
        raise TemplateError(f"The model's chat template does not take this conversation ({reason}).")

    @cached_property
    def knows_tools(self) -> bool:
        """Whether the template shows the tools that it is given."""
        shadows: list[Shadow] = [{"role": "user", "content": "Hello."}]
        try:
            return _PROBE in self._render(shadows, tool_shadows([Tool(_PROBE)], Texts()), False)
        except Exception:  # as in `render`
            return False

    @cached_property
    def call_text(self) -> str:
        """How the template writes a call of `probe` with the argument `{"n": 1}`; empty if it does not."""
        asked, result = Message("user", "Hello."), Message("tool", "Done.", call_id="parley000")
        called = Message("assistant", "", (ToolCall("parley000", "probe", '{"n": 1}'),))
        if not self.knows_tools:
            return ""
        try:
            parts = self.render([asked, called, result], [Tool("probe")])
        except TemplateError:
            return ""
        # From the question to the result, or to the end where results come first.
        texts = [part.text for part in parts]
        start = texts.index("Hello.") + 1
        return "".join(texts[start : texts.index("Done.", start) if "Done." in texts[start:] else None])

    @cached_property
    def has_switch(self) -> bool:
        """Whether the template can be told to let the model think or not."""
        shadows: list[Shadow] = [{"role": "user", "content": "Hello."}]
        try:
            return self._render(shadows, [], True) != self._render(shadows, [], False)
        except Exception:  # as in `render`
            return False

    @cached_property
    def reasoning_tag(self) -> str | None:
        """The tag that opens reasoning, as far as the template knows of one."""
        return next((tag for tag, end in REASONING.items() if tag in self._source or end in self._source), None)

    @cached_property
    def _efforts(self) -> dict[bool, dict[str, object]]:
        """What to say of the effort for and without thinking: templates refuse the words of other families."""
        shadows: list[Shadow] = [{"role": "user", "content": "Hello."}]
        for effort in _EFFORTS:
            with contextlib.suppress(Exception):  # as in `render`
                for told in effort.values():
                    self._fill(shadows, [], told)
                return effort
        return {False: {}, True: {}}

    def _render(self, shadows: list[Shadow], tools: list[Shadow], thinking: bool) -> str:
        return self._fill(shadows, tools, dict.fromkeys(_SWITCHES, thinking) | self._efforts[thinking])

    def _fill(self, shadows: list[Shadow], tools: list[Shadow], told: Mapping[str, object]) -> str:
        return self._template.render(
            messages=shadows, add_generation_prompt=True, tools=tools or None, **told, **self._tokens
        )


_SWITCHES = ("enable_thinking", "thinking", "reasoning")
"""What templates ask for to know whether the model is to think: Qwen, GLM, SmolLM and Gemma; DeepSeek and Granite;
Cohere.
"""

_EFFORTS: tuple[dict[bool, dict[str, object]], ...] = (
    {False: {"reasoning_effort": "low", "thinking_budget": 0}, True: {"reasoning_effort": "medium"}},
    {False: {"reasoning_effort": "none"}, True: {"reasoning_effort": "high"}},
)
"""Of the effort: gpt-oss, which cannot do without any, and ByteDance Seed; then Mistral."""


def _parts(text: str, texts: Texts) -> list[Part]:
    parts = []
    end = 0
    for match in SENTINEL.finditer(text):
        if match.start() > end:
            parts.append(Part(text[end : match.start()], is_content=False))
        image = texts.image(match[2])
        said = "" if image else texts.get(match[2], in_json=bool(match[1]))
        parts.append(Part(said, is_content=True, image=image))
        end = match.end()
    if end < len(text):
        parts.append(Part(text[end:], is_content=False))
    return parts


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


def _to_json(
    value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None, sort_keys: bool = False
) -> str:
    """The filter `tojson`, with the arguments that templates may give it."""
    return to_json(value, indent=indent, separators=separators, sort_keys=sort_keys)
