"""Which texts the grammars of tools let through: llama.cpp itself says so, token by token."""

import json
import logging
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.llm.calls.forms import HERMES, LLAMA_3, MISTRAL, MISTRAL_LIST, CallForm, ForcedCalls
from pipeline.llm.grammar.schema import JSON_RULES, Rules, SchemaConverter
from pipeline.llm.grammar.tools import call_grammar, lazy_call_grammar
from pipeline.llm.llama_native import Model, NativeError, Vocabulary
from pipeline.llm.llama_sampling import Grammar, _Bounds
from pipeline.types import Tool
from tests.engines import tiny_gguf
from tests.engines.schema_checker import satisfies

Matches = Callable[[str, str], bool]


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vocabulary]:
    model = Model(tiny_gguf.write(tmp_path_factory.mktemp("weights") / "tiny.gguf"))
    yield model.vocabulary
    model.close()


@pytest.fixture(scope="module")
def matches(vocabulary: Vocabulary) -> Matches:
    def matches(grammar: str, text: str) -> bool:
        bounds = _Bounds(vocabulary, Grammar(vocabulary, grammar))
        try:
            for token in vocabulary.tokenize(text, special=False):
                if not bounds.allow(token):
                    return False
                bounds.accept(token)
            return bounds.allow(vocabulary.eos)
        finally:
            bounds.close()

    return matches


def grammar_of(schema: Any) -> str:
    rules = Rules(JSON_RULES)
    converter = SchemaConverter(schema, rules)
    name = converter.rule(schema)
    assert converter.notes == []
    return rules.text(name)


# --- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string"}, ['""', '"é👋 \\n\\u00e9\\""'], ["", "a", '"\n"', '"\\x"', '"\\ud800"', "7"]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ['"ab"', '"é👋x"', '"\\"\\n"'], ['"a"', '"abcd"']),
        ({"type": "integer"}, ["0", "-7", "123456789012345"], ["07", "1.5", "--1", "1e3", '"7"', ""]),
        ({"type": "number"}, ["0", "-7.25", "1e5", "2.5E-3"], ["1.", ".5", "+1", "NaN", "Infinity"]),
        ({"type": "boolean"}, ["true", "false"], ["True", "1", "null"]),
        ({"type": "null"}, ["null"], ["None", '""']),
        ({"type": ["string", "null"]}, ['"a"', "null"], ["7"]),
        ({"enum": ["a", 7, None, True]}, ['"a"', "7", "null", "true"], ['"b"', "8", "false"]),
        ({"type": "string", "enum": ["a", 7]}, ['"a"'], ["7"]),
        ({"const": 'say "hi"\n'}, ['"say \\"hi\\"\\n"'], ['"say hi"']),
        ({"const": {"a": [1, 2]}}, ['{"a": [1, 2]}'], ['{"a": [1]}']),
        ({"type": "array", "items": {"type": "integer"}}, ["[]", "[1]", "[1, 2,3]"], ["[1,]", '["a"]', "[", "[1 2]"]),
        (
            {"type": "array", "items": {"type": "null"}, "minItems": 1, "maxItems": 2},
            ["[null]", "[null, null]"],
            ["[]"],
        ),
        ({"type": "array", "items": {"type": "null"}, "maxItems": 0}, ["[]"], ["[null]"]),
        ({"prefixItems": [{"type": "integer"}, {"type": "string"}]}, ['[1, "a"]'], ["[1, 2]", "[1]"]),
        ({"anyOf": [{"type": "integer"}, {"const": "x"}]}, ["4", '"x"'], ['"y"']),
        ({"allOf": [{"type": "integer", "minimum": 3}, {"maximum": 4}]}, ["3", "4"], ["2", "5"]),
        (True, ['{"a": [1, {"b": null}]}', "7"], ["{", "[1,"]),
        ({"type": "object"}, ["{}", '{"a": {"b": 1}}'], ["[]", '{"a"}', "{a: 1}"]),
        (
            {"type": "object", "additionalProperties": {"type": "integer"}},
            ["{}", '{"a": 1, "b": 2}'],
            ['{"a": "b"}'],
        ),
        ({"type": "object", "additionalProperties": False}, ["{}"], ['{"a": 1}']),
    ],
)
def test_a_value_has_to_be_what_its_schema_says(matches: Matches, schema: Any, good: list[str], bad: list[str]) -> None:
    grammar = grammar_of(schema)
    assert [each for each in good if not matches(grammar, each)] == []
    assert [each for each in bad if matches(grammar, each)] == []


def test_properties_that_are_required_come_and_others_may(matches: Matches) -> None:
    null = {"type": "null"}
    schema = {"type": "object", "properties": {"a": null, "b": null, "c": null, "d": null}, "required": ["b", "d"]}
    grammar = grammar_of(schema)
    for bits in range(16):
        kept = [name for at, name in enumerate("abcd") if bits >> at & 1]
        text = json.dumps(dict.fromkeys(kept))
        assert matches(grammar, text) == satisfies(json.loads(text), schema), text
    optional = grammar_of({"type": "object", "properties": {"a": null, "b": null}})
    assert all(matches(optional, each) for each in ("{}", '{"a": null}', '{"b": null}', '{"a": null, "b": null}'))
    assert not matches(optional, '{, "b": null}')


def test_a_required_property_need_not_be_described(matches: Matches) -> None:
    grammar = grammar_of({"type": "object", "required": ["a"]})
    assert matches(grammar, '{"a": [1]}')
    assert not matches(grammar, "{}")


def test_a_schema_may_contain_itself(matches: Matches) -> None:
    tree = {"type": "object", "properties": {"left": {"$ref": "#/$defs/tree"}}, "additionalProperties": False}
    grammar = grammar_of({"$ref": "#/$defs/tree", "$defs": {"tree": tree}})
    assert matches(grammar, '{"left": {"left": {}}}')
    assert not matches(grammar, '{"left": {"right": {}}}')


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[A-Z]{2}$", ["CH"], ["ch", "CHE", "C"]),
        (r"^\d{3}-\d{4}$", ["555-0199"], ["5550199"]),
        ("^(red|green)?x+$", ["x", "redxx", "greenx"], ["red", "bluex"]),
        (r"^[^a-c\]]*$", ["xyz", ""], ["xa", "]"]),
        (r"^a\.b\\$", ["a.b\\"], ["axb\\"]),
        ('^["\\w]+$', ['a"b'], ["a b"]),
        ("b+", ["abc", "b"], ["ac"]),
        ("^a|b$", ["ax", "xb"], ["xa"]),
        (r"^(?:ab){1,2}\/.$", ["ab/x", "abab/é"], ["ab/"]),
    ],
)
def test_a_pattern_holds(matches: Matches, pattern: str, good: list[str], bad: list[str]) -> None:
    grammar = grammar_of({"type": "string", "pattern": pattern})
    assert [each for each in good if not matches(grammar, json.dumps(each, ensure_ascii=False))] == []
    assert [each for each in bad if matches(grammar, json.dumps(each, ensure_ascii=False))] == []


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", ["2026-01-31", "2026-11-30"], ["2026-02-30", "2026-13-01", "26-01-01"]),
        ("date-time", ["2026-01-31T23:59:59Z", "2026-01-31T00:00:00.5+01:00"], ["2026-01-31", "2026-01-31T24:00:00Z"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
        ("colour", ["anything"], []),
    ],
)
def test_a_format_holds(matches: Matches, name: str, good: list[str], bad: list[str]) -> None:
    grammar = grammar_of({"type": "string", "format": name})
    assert all(matches(grammar, json.dumps(each)) for each in good)
    assert not any(matches(grammar, json.dumps(each)) for each in bad)


LIMITS = st.none() | st.integers(-1200, 1200) | st.integers(-1200, 1200).map(lambda number: number / 100)


@settings(deadline=None, max_examples=150)
@given(kind=st.sampled_from(["integer", "number"]), limits=st.tuples(LIMITS, LIMITS, st.booleans()), data=st.data())
def test_numbers_keep_to_their_bounds(
    matches: Matches, kind: str, limits: tuple[float | None, float | None, bool], data: st.DataObject
) -> None:
    low, high, strictly = limits
    words = ("exclusiveMinimum", "exclusiveMaximum") if strictly else ("minimum", "maximum")
    schema = {"type": kind} | {word: at for word, at in zip(words, (low, high), strict=True) if at is not None}
    near = [math.floor(at) + step for at in (low, high) if at is not None for step in (-1, 0, 1, 2)] or [0]
    number: float = data.draw(st.sampled_from(near) | st.integers(-2000, 2000))
    if kind == "number" and data.draw(st.booleans()):
        number = round(number + data.draw(st.integers(0, 99)) / 100, 2)
    if low is not None and high is not None and low + 1 >= high:
        return  # there may be none
    assert matches(grammar_of(schema), json.dumps(number)) == satisfies(number, schema), (schema, number)


# --- schemas that no grammar holds ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#/nowhere"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"$ref": "http://example.com/"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "colour"}}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"enum": []}}, "required": ["a"]},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        {"type": "object", "properties": {"a": {"type": "integer", "minimum": 2, "maximum": 1}}, "required": ["a"]},
        {"type": "object", "properties": 7},
        {"type": "string"},
        {"allOf": [{"$ref": "#"}]},
        {"type": "object", "properties": {"a": {"type": "string", "minLength": 10**9}}, "required": ["a"]},
    ],
)
def test_arguments_of_a_schema_without_sense_are_any_object(
    matches: Matches, schema: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    tool = Tool(f"tool{abs(hash(str(schema)))}", "", schema)
    with caplog.at_level(logging.WARNING):
        grammar = call_grammar([tool], HERMES, many=False)
    assert tool.name in caplog.text
    assert matches(grammar, f'{{"name": "{tool.name}", "arguments": {{"x": [1]}}}}\n</tool_call>')


@pytest.mark.parametrize("word", ["not", "uniqueItems", "multipleOf", "minProperties", "if"])
def test_what_no_grammar_holds_is_logged_and_the_rest_holds(
    matches: Matches, word: str, caplog: pytest.LogCaptureFixture
) -> None:
    inner = {"type": "integer", "maximum": 9, word: {} if word in ("not", "if") else 2}
    tool = Tool(f"with_{word}", "", {"type": "object", "properties": {"a": inner}, "required": ["a"]})
    with caplog.at_level(logging.WARNING):
        grammar = call_grammar([tool], HERMES, many=False)
    assert f"`{word}`" in caplog.text
    head = f'{{"name": "with_{word}", "arguments": '
    assert matches(grammar, head + '{"a": 9}}\n</tool_call>')
    assert not matches(grammar, head + '{"a": 10}}\n</tool_call>')


def test_an_option_that_nothing_satisfies_is_left_out(matches: Matches) -> None:
    options = {"anyOf": [{"type": "string"}, {"enum": [7]}, False]}
    assert matches(grammar_of({"type": "integer", **options}), "7")
    schema = {"type": "object", "properties": {"a": False, "b": {"type": "null"}}}
    assert matches(grammar_of(schema), '{"b": null}')
    assert not matches(grammar_of(schema), '{"a": 1}')


def test_a_grammar_that_llama_cpp_does_not_take_is_an_error(vocabulary: Vocabulary) -> None:
    for text in ("root ::= (", "root ::= root", 'other ::= "a"', "root ::= nothing"):
        with pytest.raises(NativeError):
            Grammar(vocabulary, text)


# --- calls ----------------------------------------------------------------------------------------------------

TOOLS = [
    Tool("weather", "", {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}),
    Tool("now"),
]
FORMS = [HERMES, LLAMA_3, MISTRAL_LIST, MISTRAL]


def write(form: CallForm, *calls: tuple[str, str]) -> str:
    written = (f"{form.head}{name}{form.middle}{arguments}{form.tail}" for name, arguments in calls)
    return form.start + form.separator.join(written) + form.end


@pytest.mark.parametrize("form", FORMS)
def test_only_calls_of_the_tools_match(matches: Matches, form: CallForm) -> None:
    one = call_grammar(TOOLS, form, many=False)
    assert matches(one, write(form, ("weather", '{"city": "Bern"}')))
    assert matches(one, write(form, ("now", "{}")))
    assert not matches(one, write(form, ("other", "{}")))
    assert not matches(one, write(form, ("weather", "{}")))
    assert not matches(one, "Hello.")
    if form.separator:
        two = write(form, ("now", "{}"), ("weather", '{"city": ""}'))
        assert not matches(one, two)
        assert matches(call_grammar(TOOLS, form, many=True), two)


@pytest.mark.parametrize("form", FORMS)
@given(sizes=st.lists(st.integers(1, 9), max_size=60))
@settings(deadline=None)
def test_calls_are_read_as_they_are_written(form: CallForm, sizes: list[int]) -> None:
    calls = [("weather", '{"city": "}\\"]\\\\", "n": [{}]}'), ("now", "{}")][: 2 if form.separator else 1]
    rest = write(form, *calls)
    reader = ForcedCalls(form)
    read: dict[int, list[str]] = {}
    for size in [*sizes, len(rest)]:
        for delta in reader.feed(rest[:size]):
            parts = read.setdefault(delta.index, ["", ""])
            parts[0] += delta.name
            parts[1] += delta.arguments
        rest = rest[size:]
    assert [tuple(parts) for parts in read.values()] == calls
    assert reader.finished == len(calls)


def test_a_call_of_the_models_own_may_be_spaced_as_it_likes(matches: Matches) -> None:
    grammar = lazy_call_grammar(TOOLS, HERMES, many=True)
    for space in ("", "\n", " "):
        call = f'<tool_call>{space}{{"name":{space.strip(chr(10))}"now", "arguments":{{}}}}{space}</tool_call>'
        assert matches(grammar, call)
        assert matches(grammar, f"{call}\n{call}")
    assert not matches(grammar, '<tool_call>{"name": "other", "arguments": {}}</tool_call>')


def test_what_is_no_utf_8_does_not_pass(vocabulary: Vocabulary) -> None:
    bounds = _Bounds(vocabulary, Grammar(vocabulary, grammar_of({"type": "string"})))
    quote, first, surrogate, second, accented = _bytes(vocabulary, b'"', b"\xed", b"\xa0", b"\x8b", b"\xc3")
    bounds.accept(quote)
    bounds.accept(first)
    assert len(bounds.filter(np.array([surrogate], np.int32))) == 1, "llama.cpp would take it"
    assert not bounds.allow(surrogate), "half a surrogate pair"
    assert not bounds.allow(quote)
    assert bounds.allow(second)
    bounds.accept(second)
    assert not bounds.allow(accented)
    bounds.close()


def test_a_control_token_that_is_not_shown_does_not_pass_for_its_spelling(vocabulary: Vocabulary) -> None:
    bounds = _Bounds(vocabulary, Grammar(vocabulary, grammar_of({"enum": ["<|im_start|>"]})))
    bounds.accept(*_bytes(vocabulary, b'"'))
    token = vocabulary.single("<|im_start|>")
    assert token is not None
    assert len(bounds.filter(np.array([token], np.int32))) == 1, "llama.cpp would take it"
    assert not bounds.allow(token)
    bounds.close()


def _bytes(vocabulary: Vocabulary, *wanted: bytes) -> list[int]:
    tokens = {vocabulary.piece(token): token for token in range(vocabulary.size)}
    return [tokens[byte] for byte in wanted]
