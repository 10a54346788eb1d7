"""docs/protocol.md: every event and field that the `openai` package knows, honoured or refused, and how.

The package says what there is. What becomes of it, a session says that is asked (protocol_session.py); what it means,
the code's own words (protocol_words.py).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from scripts.make_docs import protocol_types as package
from scripts.make_docs.protocol_filled import sent_paths
from scripts.make_docs.protocol_session import Verdict, answer_to, verdict_on
from scripts.make_docs.protocol_words import (
    OLDER_EVENTS,
    Known,
    client_structs,
    in_ga,
    known,
    meaning_of,
    server_structs,
)
from scripts.make_docs.words import cell
from server.wire import beta, ga

_INTRODUCTION = """\
# The protocol

<!-- Made from the code by `make docs`; a test fails when it is out of date. Do not edit. -->

Parley speaks the OpenAI Realtime protocol in two dialects: GA, and the older one, beta, which a client asks for by the
header `OpenAI-Beta: realtime=v1`. These are all events and fields that the types of the `openai` package know, and what
becomes of them here. No field is accepted and ignored: it is honoured, or refused with an `error` that names it in
`param`, and the session goes on. Fields and events that are not listed are refused, too.

What is honoured is what a pipeline can do that can do everything. One whose engines cannot (no tools, no voice of that
name, …) refuses with an `error` that says so. `[]` stands for each of a list; in brackets, the type of the object that
a field is in. Of what the server sends, “yes” means that the field can be there: which of them an item or a part of its
content has, its type tells. The `output` of a response holds messages of the assistant, calls of functions and of MCP
servers' tools, and requests for approval: see “An item”.
"""

EVERYWHERE: Mapping[str, str] = {
    "event_id": "From the client: any text, which comes back in an `error` about the event. From the server: an id of "
    "the event's own.",
    "item_id": "The item that the event is about.",
    "previous_item_id": "The item before it in the conversation; null: it is the first.",
    "response_id": "The response that the event is about.",
    "output_index": "The place of the item in the response's `output`.",
    "content_index": "The place of the part in the item's `content`.",
    "call_id": "The call of a function, to which its output refers.",
    "delta": "The next piece; together they are what `done` says.",
    "type": "What it is.",
    "object": "What it is; always the same.",
}
"""Names that mean the same wherever they are."""

_GLOSSARY = "".join(f"| `{name}` | {meaning} |\n" for name, meaning in EVERYWHERE.items())

_GA = f"""
| everywhere | meaning |
|---|---|
{_GLOSSARY}
## From the client
"""
_BETA = """
## From the client, in beta

The meaning is that of the field in GA that is named.
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A field in the document."""

    path: str
    values: str
    how: str
    is_described: bool = True


def document() -> str:
    """Returns the document."""
    parts = [_INTRODUCTION, _GA, *_from_the_client(False), "\n## From the server\n", *_from_the_server(False)]
    parts += [_BETA, *_from_the_client(True), "\n## From the server, in beta\n", *_from_the_server(True)]
    return "".join(parts)


def undescribed() -> list[str]:
    """Returns the fields that are honoured, or sent, of which the code does not say what they mean."""
    rows = [(event, row) for is_beta in (False, True) for event, row in _rows(is_beta)]
    return [f"{event}: {row.path}" for event, row in rows if not row.is_described]


def _rows(is_beta: bool) -> Iterator[tuple[str, Row]]:
    for event in package.client_events(is_beta):
        for row in _client_rows(event, is_beta):
            yield event, row
    for title, rows in _server_sections(is_beta).items():
        for row in rows:
            yield title, row


# --- from the client ---


def _from_the_client(is_beta: bool) -> Iterator[str]:
    for event in package.client_events(is_beta):
        yield f"\n### `{event}`\n\n"
        refusal = whole_refusal(event, is_beta)
        if refusal is not None and event not in _IN_CALLS:
            yield f"Refused: {refusal['message']}\n"
            continue
        struct = client_structs().get(event)
        if struct is not None and (meaning := meaning_of(struct)):
            yield f"{meaning}\n\n"
        if refusal is not None:
            yield f"In calls (`webrtc.md`). Over a WebSocket refused: {refusal['message']}\n"
            continue
        yield _table(("field", "values", "how"), _client_rows(event, is_beta))


_IN_CALLS = frozenset({"output_audio_buffer.clear"})
"""Events that a session takes only where the server plays the sound itself."""


def whole_refusal(event: str, is_beta: bool) -> Mapping[str, Any] | None:
    """Returns the error of an event that is refused whatever is in it."""
    (whole,) = package.wholes("", package.client_events(is_beta)[event])
    error = answer_to(beta if is_beta else ga, {**whole, "type": event}).error
    return error if error is not None and error["param"] == "type" else None


@cache
def _client_rows(event: str, is_beta: bool) -> Sequence[Row]:
    if whole_refusal(event, is_beta) is not None:
        return []
    model = package.client_events(is_beta)[event]
    return _merged([_client_row(each, is_beta) for each in package.fields(event, model)])


def _client_row(field: package.Field, is_beta: bool) -> Row:
    verdict = verdict_on(field, is_beta)
    path = _label(field.path, field.of)
    is_taken = verdict.is_honoured or any(each.startswith(f"{field.path}.") for each in _settable(field.event, is_beta))
    if not is_taken:
        return Row(path, "", f"Refused: {_told(verdict)}")
    place = in_ga(field.path) if is_beta else field.path
    struct = client_structs().get("session.update" if field.event.startswith("transcription_") else field.event)
    found = known(struct, place, field.of) if struct else None
    is_described = bool(found and found.meaning) or field.name in EVERYWHERE
    meaning = _meaning_in_beta(field.path, place, found) if is_beta else found.meaning if found else ""
    literals = [value for value, _ in verdict.refused if isinstance(value, str)] if field.kinds.literals else []
    if refused := [f"`{value}`" for value in literals if value in field.kinds.literals]:
        meaning += f" Refused: {', '.join(refused)}. {_told(verdict)}"
    return Row(path, _allowed(field, verdict, found), meaning.strip(), is_described)


def _meaning_in_beta(path: str, place: str, found: Known | None) -> str:
    return f"`{place}`" if place != path else found.meaning if found else ""


def _allowed(field: package.Field, verdict: Verdict, found: Known | None) -> str:
    if field.kinds.literals and not field.kinds.scalars:
        return ", ".join(f"`{value}`" for value in verdict.honoured if value in field.kinds.literals)
    return found.values if found else ""


def _told(verdict: Verdict) -> str:
    """Returns what is said of the values that are refused, of which the first stands for all."""
    return str(verdict.refused[-1][1]["message"])


def _label(path: str, of: str) -> str:
    return f"`{path}`" + (f" ({of})" if of else "")


def _merged(rows: Sequence[Row]) -> list[Row]:
    """Makes one row of those that follow each other and are refused for the same reason."""
    merged: list[Row] = []
    for row in rows:
        if merged and row.how == merged[-1].how and row.how.startswith("Refused: "):
            merged[-1] = Row(f"{merged[-1].path}, {row.path}", "", row.how)
        else:
            merged.append(row)
    return merged


# --- from the server ---

_OBJECTS: Mapping[str, tuple[str, str]] = {
    "session": ("session.updated", "A session"),
    "item": ("response.output_item.done", "An item"),
    "response": ("response.done", "A response"),
}
"""Objects that several events carry: the event by which they are described, and the section's title."""

_GIVEN = frozenset({"id", "object", "expires_at", "type", "model"})
"""What a session has that no client gives it."""

_MADE = "response.output[]."
"""The items of a response: they are described once."""

_WHY_NOT: Mapping[str, str] = {
    "input_audio_buffer.dtmf_event_received": "Is for telephone calls by SIP.",
    "conversation.created": "Is of the older dialect.",
    "conversation.item.created": "Is of the older dialect; here it is `conversation.item.added`.",
}


def _from_the_server(is_beta: bool) -> Iterator[str]:
    never: dict[str, str] = {}
    sent = sent_paths(beta if is_beta else ga)
    sections = _server_sections(is_beta)
    for event in package.server_events(is_beta):
        if event not in sent:
            never[event] = next((why for name, why in _WHY_NOT.items() if event.startswith(name)), "Is not there yet.")
            continue
        yield f"\n### `{event}`\n\n"
        struct = server_structs()[OLDER_EVENTS[event] if is_beta else event]
        if meaning := meaning_of(struct):
            yield f"{meaning}\n\n"
        yield _table(("field", "sent", "meaning"), sections[event])
    for _, title in _OBJECTS.values():
        yield f"\n### {title}\n\n"
        yield _table(("field", "sent", "meaning"), sections[title])
    yield "\n### What is never sent\n\n| event | why |\n|---|---|\n"
    yield from (f"| `{event}` | {why} |\n" for event, why in never.items())


@cache
def _server_sections(is_beta: bool) -> Mapping[str, Sequence[Row]]:
    """Returns the rows of each server event that is sent, and of each object, by title."""
    sent = sent_paths(beta if is_beta else ga)
    sections: dict[str, Sequence[Row]] = {}
    for event, model in package.server_events(is_beta).items():
        if event in sent:
            rows = [each for each in package.fields(event, model) if each.path.split(".")[0] not in _OBJECTS]
            sections[event] = _server_rows(rows, sent[event], is_beta)
            sections[event] = [*sections[event], *(_pointer(name) for name in _OBJECTS if name in model.model_fields)]
    for name, (event, title) in _OBJECTS.items():
        inside = [
            each
            for each in package.fields(event, package.server_events(is_beta)[event])
            if each.path.startswith(f"{name}.") and not each.path.startswith(_MADE)
        ]
        sections[title] = _server_rows(inside, sent[event], is_beta)
    return sections


def _pointer(name: str) -> Row:
    _, title = _OBJECTS[name]
    return Row(f"`{name}`", "yes", f"See “{title}” below.")


def _server_rows(fields: Sequence[package.Field], sent: set[str], is_beta: bool) -> list[Row]:
    """Returns the rows; what only tells the type of an object that is never sent is not sent either."""
    rows = [_server_row(each, sent, is_beta) for each in fields]
    for index, field in enumerate(fields):
        if field.name == "type" and field.of:
            outer = field.path.removesuffix("type")
            others = [
                row
                for each, row in zip(fields, rows, strict=True)
                if each.of == field.of and each is not field and each.path.startswith(outer)
            ]
            if others and all(row.values == "no" for row in others):
                rows[index] = Row(rows[index].path, "no", "")
    return rows


def _server_row(field: package.Field, sent: set[str], is_beta: bool) -> Row:
    path = _label(field.path, field.of)
    if field.path not in sent:
        return Row(path, "no", "")
    tag = OLDER_EVENTS[field.event] if is_beta else field.event
    found = known(server_structs()[tag], in_ga(field.path) if is_beta else field.path, field.of)
    meaning = found.meaning if found else ""
    asked = field.path.startswith("session.") and field.name not in _GIVEN
    is_null = (asked and field.path not in _settable("session.update", is_beta)) or meaning.startswith(
        ("Only null", "Always null")
    )
    sent_as = "only null" if is_null else "yes"
    return Row(path, sent_as, meaning, bool(meaning) or field.name in EVERYWHERE)


@cache
def _settable(event: str, is_beta: bool) -> frozenset[str]:
    """Returns the paths in an event that a client can set, or something in them."""
    fields = package.fields(event, package.client_events(is_beta)[event])
    paths = [each.path for each in fields if verdict_on(each, is_beta).is_honoured]
    return frozenset(outer for path in paths for outer in _outers(path))


def _outers(path: str) -> Iterator[str]:
    """Yields a path and what it is in."""
    parts = path.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts) + 1))


def _table(head: Sequence[str], rows: Sequence[Row]) -> str:
    lines = [f"| {' | '.join(head)} |\n", f"|{'---|' * len(head)}\n"]
    lines += [f"| {cell(row.path)} | {cell(row.values)} | {cell(row.how)} |\n" for row in rows]
    return "".join(lines)
