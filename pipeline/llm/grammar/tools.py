"""The JSON schemas of tools → a grammar in GBNF that lets through their calls and nothing else.

What matches satisfies the schema, though the grammar may be the stricter of the two: properties come in the order in
which they are declared, none come that are not, and `oneOf` counts as `anyOf`. What a schema asks for that no grammar
can hold (`not`, `uniqueItems`, …) is left out of it and logged.
"""

import json
import logging
import re
from collections.abc import Sequence
from functools import lru_cache

from pipeline.llm.calls.forms import CallForm
from pipeline.llm.grammar.schema import JSON_RULES, Rules, SchemaConverter, SchemaError, quoted
from pipeline.types import Tool

log = logging.getLogger(__name__)

MAX_CALLS = 8
"""Calls in one reply that has to make some."""


def call_grammar(tools: Sequence[Tool], form: CallForm, *, many: bool, typed: bool = True) -> str:
    """Returns the grammar of a reply that calls one of `tools`, or several if there may be `many`.

    It begins behind the form's opening. Unless `typed`, arguments are any JSON object.
    """
    rules = _rules_of(tools, form, typed)
    more = f" ({quoted(form.separator)} call){{0,{MAX_CALLS - 1}}}" if many and form.separator else ""
    return rules.text(f"{quoted(form.start)} call{more} {quoted(form.end)}")


def lazy_call_grammar(tools: Sequence[Tool], form: CallForm, *, many: bool, typed: bool = True) -> str:
    """Returns the grammar for calls of the model's own choice, from the form's opening on.

    Unlike in `call_grammar`, white space between the parts is the model's choice too.
    """
    rules = _rules_of(tools, form, typed, loose=True)
    more = f" ({_loose(form.separator)} call){{0,{MAX_CALLS - 1}}}" if many and form.separator else ""
    return rules.text(f"{_loose(form.opening)} gap {_loose(form.start)} call{more} {_loose(form.end)} gap")


def _rules_of(tools: Sequence[Tool], form: CallForm, typed: bool, loose: bool = False) -> Rules:
    rules = Rules(JSON_RULES)
    rules.define("gap", "[ \\n]{0,2}")
    write = _loose if loose else quoted
    calls = []
    for tool in tools:
        arguments = _arguments(tool, rules) if typed else "object"
        calls.append(f"{write(form.head)} {quoted(tool.name)} {write(form.middle)} {arguments} {write(form.tail)}")
    rules.define("call", " | ".join(calls))
    return rules


def _loose(literal: str) -> str:
    """A literal in which spaces and newlines may be missing."""
    known = {": ": "colon", ", ": "comma", "\n": "gap"}
    return " ".join(known.get(piece) or quoted(piece) for piece in re.split(r"(: |, |\n)", literal) if piece) or '""'


def _arguments(tool: Tool, rules: Rules) -> str:
    """Returns the rule for a tool's arguments: any object where its schema makes no sense."""
    schema = {"type": "object"} | dict(tool.parameters)
    converter = SchemaConverter(schema, rules)
    try:
        if schema["type"] != "object":
            raise SchemaError(f"it is for {json.dumps(schema['type'])}, not for an object")
        rule = converter.rule(schema)
    except (SchemaError, RecursionError, TypeError, ValueError, AttributeError) as error:
        _note(tool.name, f"its schema cannot be used ({error}): its arguments may be any object")
        return "object"
    for what in converter.notes:
        _note(tool.name, what)
    return rule


@lru_cache(256)
def _note(tool: str, what: str) -> None:
    """Logs, once."""
    log.warning("the tool `%s`: %s", tool, what)
