"""Reads the bodies of replies: events, JSON, and either where the other was asked for."""

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator
from typing import Any

import aiohttp

from pipeline.errors import StageError
from pipeline.http.failures import Failures, read_refusal
from pipeline.http.sse import Event, EventParser, TooLongError

DONE = "[DONE]"
"""The data of the event that ends OpenAI's event streams."""

MAX_JSON_BYTES = 16 * 2**20
MAX_EVENT_BYTES = 4 * 2**20
_DRAIN_S = 0.25
"""How long a reply that has said all may take to end, before its connection is closed rather than kept."""


async def events(response: aiohttp.ClientResponse, fail: Failures) -> AsyncGenerator[Event, None]:
    """Yields the events of a reply, `[DONE]` as the last if it comes. A reply that is one JSON text, although events
    were asked for, is one event.

    Raises:
        StageError: it is neither, is too long, or is an error.
    """
    body = response.content.iter_any()
    head = b""
    async for piece in body:
        head += piece
        if head.strip():
            break
    begin = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if begin[:1] in (b"{", b"["):
        yield Event((await _rest(body, head, fail)).decode("utf-8", "replace"))
        return
    if begin[:1] == b"<":
        raise _not_asked_for(await _rest(body, head, fail), response, fail)
    parser = EventParser(MAX_EVENT_BYTES)
    try:
        piece = head
        while True:
            for event in parser.feed(piece):
                if event.data.strip() == DONE:
                    await drain(response)
                    yield Event(DONE)
                    return
                yield event
            if (piece := await anext(body, b"")) == b"":
                break
    except TooLongError:
        raise fail.of_reply("sent an event that is longer than it can mean to") from None
    for event in parser.finish():
        yield Event(DONE) if event.data.strip() == DONE else event


async def whole(response: aiohttp.ClientResponse, fail: Failures) -> bytes:
    """Returns a reply of bearable length.

    Raises:
        StageError: it is longer than 16 MiB.
    """
    return await _rest(response.content.iter_any(), b"", fail)


async def drain(response: aiohttp.ClientResponse) -> None:
    """Reads to the end of a reply that has said all, so that its connection can be kept; not for long."""
    with contextlib.suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(_DRAIN_S):
            async for _ in response.content.iter_any():
                pass


def parse_object(text: str, fail: Failures, event: str = "") -> dict[str, Any]:
    """Reads a JSON object of a reply or of an event of that name.

    Raises:
        StageError: it is none, or says that something went wrong.
    """
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise fail.of_reply(f"sent what is not a JSON object: {fail.excerpt(text)}")
    if value.get("error") or event == "error":
        raise fail.of_message(value)
    return value


def not_the_answer(body: bytes, response: aiohttp.ClientResponse, fail: Failures) -> StageError:
    """Returns what to raise for a reply with a 2xx status that is not what was asked for: an error, a web page."""
    with contextlib.suppress(ValueError, RecursionError):
        value = json.loads(body)
        if isinstance(value, dict):
            return fail.of_message(value)
    return _not_asked_for(body, response, fail)


def _not_asked_for(body: bytes, response: aiohttp.ClientResponse, fail: Failures) -> StageError:
    text = read_refusal(body).message
    return fail.of_reply(
        f"answered {response.status} with {response.content_type}, which is not what was asked for"
        f"{f' ({fail.excerpt(text)})' if text else ''}. `base_url` may lead to something else"
    )


async def _rest(body: Any, head: bytes, fail: Failures) -> bytes:
    pieces, size = [head], len(head)
    async for piece in body:
        pieces.append(piece)
        size += len(piece)
        if size > MAX_JSON_BYTES:
            raise fail.of_reply(f"sent more than {MAX_JSON_BYTES >> 20} MiB, which is no answer")
    return b"".join(pieces)
