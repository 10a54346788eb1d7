"""Which tools a reply may call or has to, in which form, and the grammar that sees to it."""

import logging
from collections.abc import Sequence
from functools import lru_cache

from pipeline.errors import StageError
from pipeline.llm.calls.forms import HERMES, form_of
from pipeline.llm.chat_template import ChatTemplate
from pipeline.llm.grammar.tools import call_grammar, lazy_call_grammar
from pipeline.llm.llama_native import NativeError, Vocabulary
from pipeline.llm.llama_reply import Calls
from pipeline.llm.llama_sampling import Grammar
from pipeline.types import GenerationRequest, NamedTool, Tool

log = logging.getLogger(__name__)

_GRAMMARS = 32
"""Compiled grammars that are kept for the next reply."""


class CallPlanner:
    """Plans the calls of replies for one model. One thread at a time."""

    def __init__(self, vocabulary: Vocabulary, template: ChatTemplate) -> None:
        self._vocabulary = vocabulary
        form = form_of(template.call_text)
        self._form = form or HERMES
        # In a form that is not known here, calls are left to the model.
        self._guards = bool(self._form.opening) and (form is not None or not template.knows_tools)
        self._compile = lru_cache(_GRAMMARS)(self._compile_afresh)

    def plan(self, request: GenerationRequest) -> tuple[tuple[Tool, ...], Calls, Grammar | None]:
        """Returns the tools to show to the model, the calls that it may make, and the grammar that holds it to them.

        Where it may call or not, the grammar has no effect before it does.

        Raises:
            StageError: it has to call a tool that is not there, or one for which no grammar can be made.
        """
        shown, offered, forced = _choose(request)
        many = request.parallel_tool_calls and not isinstance(request.tool_choice, NamedTool)
        calls = Calls(frozenset(tool.name for tool in offered), self._form, many, forced)
        grammar = self._grammar(offered, many, forced) if offered and (forced or self._guards) else None
        return shown, calls, grammar

    def forget(self) -> None:
        """Drops the compiled grammars."""
        self._compile.cache_clear()

    def _grammar(self, tools: Sequence[Tool], many: bool, forced: bool) -> Grammar | None:
        trigger = None if forced else self._form.opening.strip()
        write = call_grammar if forced else lazy_call_grammar
        for typed in (True, False):
            try:
                return self._compile(write(tools, self._form, many=many, typed=typed), trigger)
            except NativeError as error:
                log.warning("the tools' schemas make no grammar, so arguments may be any JSON object: %s", error)
        if forced:
            raise StageError("llm", "The tools make no grammar, so no call can be forced.")
        return None

    def _compile_afresh(self, text: str, trigger: str | None) -> Grammar:
        return Grammar(self._vocabulary, text, trigger)


def _choose(request: GenerationRequest) -> tuple[tuple[Tool, ...], tuple[Tool, ...], bool]:
    """Returns the tools that the model is shown, those that it may call, and whether it has to."""
    tools = request.prompt.tools
    match request.tool_choice:
        case "none":
            return (), (), False
        case "auto":
            return tools, tools, False
        case "required":
            offered = tools
        case NamedTool(name=name):
            offered = tuple(tool for tool in tools if tool.name == name)
    if not offered:
        raise StageError("llm", "The model has to call a tool that it has not been given.")
    return tools, offered, True
