"""How calls are asked for, in-process and without engines: in every shape, and what is wrong with the others."""

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiortc import RTCConfiguration, RTCPeerConnection

from server.webrtc import calls
from server.webrtc.offer import offer_of
from tests.pipeline.packages import Packages, packages
from tests.server.test_doors import OWN, Doors, doors

__all__ = ["packages"]

CALLS = "/v1/realtime/calls"
SDP = {"Content-Type": "application/sdp"}
KEY = {"Authorization": f"Bearer {OWN}"}


async def offer(direction: str = "sendrecv", channel: bool = True, video: bool = False) -> str:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    if channel:
        peer.createDataChannel("oai-events")
    peer.addTransceiver("audio", direction)
    if video:
        peer.addTransceiver("video")
    await peer.setLocalDescription(await peer.createOffer())
    sdp: str = peer.localDescription.sdp
    await peer.close()
    return sdp


@pytest.fixture
async def open_(tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages) as those:
        yield those


@pytest.fixture
async def guarded(tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages, OWN) as those:
        yield those


async def post(those: Doors, path: str = CALLS, **options: Any) -> tuple[int, Any, Any]:
    """Returns the status, the headers, and the SDP or the error."""
    async with those.client.post(path, **options) as answer:
        text = await answer.text()
        told = json.loads(text)["error"] if answer.content_type == "application/json" else text
        return answer.status, answer.headers, told


def form(sdp: str, **fields: str) -> aiohttp.FormData:
    data = aiohttp.FormData(default_to_multipart=True)
    data.add_field("sdp", sdp)
    for name, value in fields.items():
        data.add_field(name, value)
    return data


@pytest.mark.parametrize("path", [CALLS, "/v1/realtime", "/openai/v1/realtime/calls", "/openai/v1/realtime"])
async def test_an_offer_alone_is_answered(open_: Doors, path: str) -> None:
    status, headers, answer = await post(open_, f"{path}?model=two", data=await offer(), headers=SDP)
    assert status == 201
    assert headers["Content-Type"].startswith("application/sdp")
    assert re.fullmatch(r"/(openai/)?v1/realtime/calls/rtc_\w+", headers["Location"])
    assert answer.startswith("v=0")
    assert "opus/48000/2" in answer
    assert "PCMU" not in answer
    assert " 127.0.0.1 " in answer
    ports = set(re.findall(r"a=candidate:\S+ 1 udp \d+ \S+ (\d+)", answer))
    assert ports


@pytest.mark.parametrize("shape", ["form", "json", "form of the key", "json with a model"])
async def test_an_offer_comes_with_the_session_that_it_is_for(open_: Doors, shape: str) -> None:
    sdp, session = await offer(), {"type": "realtime", "model": "two", "instructions": "Be kind."}
    options: dict[str, Any]
    match shape:
        case "form":
            options = {"data": form(sdp, session=json.dumps(session))}
        case "json":
            options = {"json": {"sdp": sdp, "session": session}}
        case "form of the key":
            options = {"data": form(sdp), "headers": {"Authorization": f"Bearer {await open_.key(model='two')}"}}
        case _:
            options = {"json": {"sdp": sdp, "model": "two"}}
    assert (await post(open_, **options))[0] == 201


@pytest.mark.parametrize(
    ("session", "code", "param"),
    [
        ({"type": "realtime", "model": "three"}, "model_not_found", "model"),
        ({"type": "realtime", "voice": "x"}, "unknown_parameter", "session.voice"),
        ({"type": "realtime", "audio": {"input": {"format": {"type": "audio/pcmu"}}}}, "invalid_value", None),
        ({"type": "singing"}, "invalid_value", "session.type"),
    ],
)
async def test_a_session_that_cannot_be_is_refused(open_: Doors, session: Any, code: str, param: str | None) -> None:
    status, _, error = await post(open_, json={"sdp": await offer(), "session": session})
    assert status in (400, 404)
    assert error["code"] == code
    assert error["param"] == (param or "session.audio.input.format")


async def test_the_older_path_has_the_older_words(open_: Doors) -> None:
    session = {"modalities": ["text"], "input_audio_format": "pcm16"}
    assert (await post(open_, "/v1/realtime", json={"sdp": await offer(), "session": session}))[0] == 201
    session["input_audio_format"] = "g711_ulaw"
    status, _, error = await post(open_, "/v1/realtime", json={"sdp": await offer(), "session": session})
    assert (status, error["param"]) == (400, "session.input_audio_format")


async def test_what_browsers_offer_besides_is_no_mistake(open_: Doors) -> None:
    sdp = await offer()
    bundled = re.sub(r"m=application \d+", "m=application 0", sdp) + "a=bundle-only\r\n"
    named = "a=candidate:1 1 udp 2113937151 0a1b2c3d-0000-4000-8000-000000000000.local 50000 typ host\r\n"
    hidden = re.sub(r"(a=candidate:.*\r\n)+", lambda _: named, sdp)
    bare = re.sub(r"a=candidate:.*\r\n|a=end-of-candidates\r\n", "", sdp)
    for each in (bundled, hidden, bare, sdp.replace("\r\n", "\n")):
        assert (await post(open_, data=each, headers=SDP))[0] == 201
    assert ".local" not in offer_of(hidden, answers=True).sdp
    assert "end-of-candidates" not in offer_of(hidden, answers=True).sdp
    assert offer_of(sdp, answers=True).sdp.strip() == sdp.strip()
    assert offer_of(sdp.replace("a=max-message-size:262144\r\n", ""), answers=True).max_message == 65_536


async def bad_offers() -> AsyncIterator[tuple[str, str]]:
    whole = await offer()
    yield "", "no SDP"
    yield "v=0\r\nnonsense", "audio track"
    yield "nonsense", "no SDP"
    yield "\0" * 40, "SDP"
    yield await offer(channel=False), "data channel"
    yield await offer(video=True), "more than"
    yield await offer("sendonly"), "receives nothing"
    yield re.sub(r"a=group:BUNDLE.*\r\n", "", whole), "BUNDLE"
    yield re.sub(r"a=rtpmap:\d+ opus.*\r\n", "", whole), "Opus"
    yield re.sub(r"a=fingerprint.*\r\n", "", whole), "fingerprint"
    yield re.sub(r"a=ice-ufrag.*\r\n", "", whole), "ICE"
    yield whole.replace("m=audio", "m=text"), "SDP"
    yield whole + "a=x:" + "y" * 300_000, "characters"


async def test_an_offer_that_cannot_be_answered_is_told_why(open_: Doors) -> None:
    async for sdp, why in bad_offers():
        status, _, error = await post(open_, data=sdp, headers=SDP)
        assert (status, error["code"], error["param"]) == (400, "invalid_offer", "sdp"), (why, error)
        assert why in error["message"], (why, error)


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"data": "v=0", "headers": {"Content-Type": "text/plain"}}, 415, "unsupported_media_type"),
        ({"data": "{", "headers": {"Content-Type": "application/json"}}, 400, "invalid_json"),
        ({"json": {"session": {}}}, 400, "invalid_value"),
        ({"json": {"sdp": 5}}, 400, "invalid_value"),
        ({"json": {"sdp": "v=0", "colour": 1}}, 400, "invalid_value"),
        ({"data": form("v=0", session="{")}, 400, "invalid_json"),
        ({"data": form("v=0", colour="red")}, 400, "unknown_parameter"),
        ({"data": b"--x", "headers": {"Content-Type": "multipart/form-data"}}, 400, "invalid_form"),
        ({"data": b"\xff\xfe", "headers": SDP}, 400, "invalid_value"),
        ({"data": b"v" * 3_000_000, "headers": SDP}, 413, "request_too_large"),
    ],
)
async def test_a_request_that_is_none_is_refused(open_: Doors, options: Any, status: int, code: str) -> None:
    told, _, error = await post(open_, **options)
    assert (told, error["code"]) == (status, code)


async def test_who_has_no_key_is_not_answered_and_an_ephemeral_one_opens(guarded: Doors) -> None:
    sdp = await offer()
    assert (await post(guarded, data=sdp, headers=SDP))[0] == 401
    assert (await post(guarded, data=sdp, headers={**SDP, **KEY}))[0] == 201
    key = {"Authorization": f"Bearer {await guarded.key(model='two', instructions='Sing.')}"}
    status, headers, _ = await post(guarded, data=sdp, headers={**SDP, **key})
    assert status == 201
    hang_up = headers["Location"] + "/hangup"
    assert (await post(guarded, hang_up))[0] == 401
    assert (await post(guarded, hang_up, headers=key))[0] == 200
    status, _, error = await post(guarded, f"{CALLS}?model=one", data=sdp, headers={**SDP, **key})
    assert (status, error["code"]) == (400, "model_mismatch")
    both = {"sdp": sdp, "session": {"type": "realtime", "instructions": "Whistle."}}
    assert (await post(guarded, json=both, headers=key))[0] == 201
    both["session"] = {"type": "transcription"}
    status, _, error = await post(guarded, json=both, headers=key)
    assert (status, error["param"]) == (400, "session.type")
    status, _, error = await post(guarded, "/v1/realtime/client_secrets", json={}, headers=key)
    assert status == 401


async def test_a_call_is_hung_up_and_then_it_is_gone(open_: Doors) -> None:
    _, headers, _ = await post(open_, data=await offer(), headers=SDP)
    where = headers["Location"]
    assert (await post(open_, f"{where}/hangup"))[0] == 200
    statuses: list[int] = []

    async def gone() -> bool:
        status, _, error = await post(open_, f"{where}/hangup")
        statuses.append(status)
        return status == 404 and error["code"] == "call_not_found"

    for _ in range(100):
        if await gone():
            break
    assert statuses[-1] == 404


@pytest.mark.parametrize("verb", ["accept", "reject", "refer"])
async def test_what_is_for_telephone_calls_is_refused(open_: Doors, verb: str) -> None:
    status, _, error = await post(open_, f"{CALLS}/rtc_1/{verb}", json={})
    assert (status, error["code"]) == (400, "unsupported_call")
    assert "SIP" in error["message"]


async def test_there_are_so_many_calls_and_no_more(open_: Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calls, "MAX_CALLS", 1)
    sdp = await offer()
    _, headers, _ = await post(open_, data=sdp, headers=SDP)
    status, _, error = await post(open_, data=sdp, headers=SDP)
    assert (status, error["code"]) == (429, "too_many_calls")
    await post(open_, headers["Location"] + "/hangup")

    for _ in range(100):
        if (await post(open_, data=sdp, headers=SDP))[0] == 201:
            return
    raise AssertionError("a call that has ended takes no room")


# --- pages from elsewhere ---

LOCAL, FOREIGN = "http://localhost:3000", "https://elsewhere.example"
ASKS = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


async def test_a_page_of_this_machine_may_begin_a_call_and_read_where_it_is(open_: Doors) -> None:
    async with open_.client.options(CALLS, headers={"Origin": LOCAL, **ASKS}) as told:
        assert told.status == 204
        assert told.headers["Access-Control-Allow-Origin"] == LOCAL
        assert told.headers["Access-Control-Allow-Methods"] == "POST"
        assert told.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    status, headers, _ = await post(open_, data=await offer(), headers={**SDP, "Origin": LOCAL})
    assert status == 201
    assert headers["Access-Control-Allow-Origin"] == LOCAL
    assert headers["Access-Control-Expose-Headers"] == "Location"
    assert headers["Vary"] == "Origin"
    status, headers, _ = await post(open_, data="", headers={**SDP, "Origin": LOCAL})
    assert status == 400
    assert headers["Access-Control-Allow-Origin"] == LOCAL, "what is wrong can be read, too"


async def test_a_page_of_elsewhere_begins_none_where_no_key_is_asked_for(open_: Doors) -> None:
    sdp = await offer()
    status, _, error = await post(open_, data=sdp, headers={**SDP, "Origin": FOREIGN})
    assert (status, error["code"]) == (403, "origin_not_allowed")
    status, _, error = await post(open_, data=sdp, headers={**SDP, "Origin": FOREIGN, "Authorization": "Bearer x"})
    assert (status, error["code"]) == (403, "origin_not_allowed")


async def test_a_page_of_elsewhere_begins_one_with_an_ephemeral_key(guarded: Doors) -> None:
    sdp, key = await offer(), await guarded.key()
    status, headers, _ = await post(
        guarded, data=sdp, headers={**SDP, "Origin": FOREIGN, "Authorization": f"Bearer {key}"}
    )
    assert (status, headers["Access-Control-Allow-Origin"]) == (201, FOREIGN)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/chat/completions", "/"])
async def test_other_doors_say_nothing_to_pages_of_elsewhere(open_: Doors, path: str) -> None:
    async with open_.client.options(path, headers={"Origin": FOREIGN, **ASKS}) as told:
        assert told.status in (403, 405)
        assert "Access-Control-Allow-Origin" not in told.headers
