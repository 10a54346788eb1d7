"""What a client posts to begin a call: its SDP, alone or with the session that it wants."""

import re
from dataclasses import dataclass
from typing import Any

import msgspec
from aiohttp import BodyPartReader, web
from aiortc import sdp

from server.client_secrets import Unanswerable
from server.realtime.refusal import Refusal
from server.replies import refusal

MAX_BODY = 2 * 1024 * 1024
"""Most bytes of a request: a session of the longest kind, and an SDP."""

MAX_SDP = 256 * 1024

_JSON, _SDP, _FORM = "application/json", "application/sdp", "multipart/form-data"

DEFAULT_MAX_MESSAGE = 65_536
"""Bytes that a data channel takes at a time whose end does not say (RFC 8841, 6.1)."""


class _Body(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    sdp: str
    session: dict[str, Any] | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """An offer, and the session that goes with it as the client wrote it, if one does."""

    sdp: str
    session: dict[str, Any] | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class Offer:
    """An offer that can be answered. `hears`, `speaks`: which ways sound goes, as seen from the server.

    `max_message` is the most bytes that its data channel takes at a time; 0: any number.
    """

    sdp: str
    hears: bool
    speaks: bool
    max_message: int


async def read(request: web.Request) -> Asked:
    """Returns what a client posts.

    Raises:
        Unanswerable: it is too long, or in a shape that calls are not asked for in.
        Refusal: it is not what it says it is.
    """
    if request.content_length is not None and request.content_length > MAX_BODY:
        raise _too_large()
    if request.content_type == _SDP:
        return Asked(_text(await _whole(request), "sdp"))
    if request.content_type == _JSON:
        return _of_json(await _whole(request))
    if request.content_type == _FORM:
        return await _of_form(request)
    raise Unanswerable(
        refusal(
            415,
            "unsupported_media_type",
            f"A call is asked for in {_SDP} (the offer alone), {_JSON} or {_FORM} (`sdp` and `session`), "
            f"not in {request.content_type}.",
        )
    )


async def _whole(request: web.Request) -> bytes:
    body = bytearray()
    async for part in request.content.iter_any():
        body += part
        if len(body) > MAX_BODY:
            raise _too_large()
    return bytes(body)


def _of_json(body: bytes) -> Asked:
    try:
        asked = msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        raise Refusal("invalid_value", f"A call is asked for with `sdp` and `session`: {error}.") from None
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise Refusal("invalid_json", f"The body is not valid JSON: {error}.") from None
    return Asked(asked.sdp, asked.session, asked.model)


async def _of_form(request: web.Request) -> Asked:
    fields: dict[str, str] = {}
    size = 0
    try:
        async for part in await request.multipart():
            name = part.name if isinstance(part, BodyPartReader) else None
            if not isinstance(part, BodyPartReader) or name not in ("sdp", "session", "model"):
                raise Refusal("unknown_parameter", f"A call is asked for with `sdp` and `session`, not `{name}`.", name)
            value = bytearray()
            while chunk := await part.read_chunk():
                value += chunk
                size += len(chunk)
                if size > MAX_BODY:
                    raise _too_large()
            fields[name] = _text(bytes(value), name)
    except ValueError as error:
        raise Refusal("invalid_form", f"The form cannot be read: {error}.") from None
    if "sdp" not in fields:
        raise Refusal("missing_required_parameter", "The form has no `sdp`: the offer.", "sdp")
    session = None
    if "session" in fields:
        try:
            session = msgspec.json.decode(fields["session"], type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError) as error:
            raise Refusal("invalid_json", f"`session` is a JSON object: {error}.", "session") from None
    return Asked(fields["sdp"], session, fields.get("model"))


def _text(body: bytes, name: str) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise Refusal("invalid_value", f"`{name}` is no UTF-8 text.", name) from None


def _too_large() -> Unanswerable:
    return Unanswerable(refusal(413, "request_too_large", f"The request is longer than {MAX_BODY} bytes."))


def offer_of(text: str, answers: bool) -> Offer:
    """Returns the offer in an SDP, fit for aiortc. `answers`: whether the session has something to say.

    Raises:
        Refusal: it is none, or it lacks what a call needs.
    """
    if len(text) > MAX_SDP:
        raise _bad(f"it has {len(text)} characters, {MAX_SDP} at most are read")
    text = _without_names(text.replace("\r\n", "\n").strip() + "\n").replace("\n", "\r\n")
    if not text.startswith("v=0"):
        raise _bad("it is no SDP, which begins with `v=0`")
    try:
        description = sdp.SessionDescription.parse(text)
    except Exception as error:  # whatever a parser that expects the best says to the worst
        raise _bad(f"it is no SDP ({type(error).__name__}: {error})") from None
    kinds = [media.kind for media in description.media]
    if kinds.count("audio") != 1:
        raise _bad("it has to have one audio track: `addTrack` a microphone, or `addTransceiver('audio')`")
    if kinds.count("application") != 1:
        raise _bad("it has no data channel: `createDataChannel('oai-events')` before `createOffer`")
    if len(kinds) > 2:
        raise _bad("it has more than an audio track and a data channel: send images as `input_image` items")
    for media in description.media:
        dtls, ice = media.dtls, media.ice
        if not (dtls and dtls.fingerprints and ice and ice.usernameFragment and ice.password):
            raise _bad(f"its {media.kind} lacks an ICE user name or a DTLS fingerprint")
    bundle = next((group.items for group in description.group if group.semantic == "BUNDLE"), [])
    if {media.rtp.muxId for media in description.media} != set(bundle):
        raise _bad("its audio and its data channel have to go over one transport (BUNDLE)")
    audio = description.media[kinds.index("audio")]
    if not any(codec.name.lower() == "opus" for codec in audio.rtp.codecs):
        raise _bad("its audio has no Opus")
    hears, speaks = audio.direction in ("sendrecv", "sendonly"), audio.direction in ("sendrecv", "recvonly")
    if answers and not speaks:
        raise _bad("its audio receives nothing, and this session has something to say: make it `sendrecv`")
    return Offer(text, hears, speaks, _max_message(text))


def _without_names(text: str) -> str:
    """Leaves out candidates under names (mDNS): to ask the network who that is takes time, and often leads nowhere.
    The client finds the server, and then the server knows where it is. Until then more may come, whatever it says.
    """
    lines = text.split("\n")
    if all(not _NAMED.match(line) for line in lines):
        return text
    return "\n".join(line for line in lines if not _NAMED.match(line) and line != "a=end-of-candidates")


_NAMED = re.compile(r"a=candidate:(?:\S+ ){4}\S+\.local ")
_MAX_MESSAGE = re.compile(r"^a=max-message-size:(\d{1,12})\r?$", re.MULTILINE)


def _max_message(text: str) -> int:
    found = _MAX_MESSAGE.search(text)
    return int(found[1]) if found else DEFAULT_MAX_MESSAGE


def _bad(problem: str) -> Refusal:
    return Refusal("invalid_offer", f"The SDP offer cannot be answered: {problem}.", "sdp")
