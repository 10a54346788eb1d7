"""What the three `openai` engines share: connections, cancelling, errors, options. Told with the language model's."""

import asyncio
import contextlib
import gc
import logging
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncGenerator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import EngineError, StageError
from pipeline.http.options import is_loopback
from pipeline.llm.openai import OpenAIModel
from pipeline.transcription.openai import OpenAITranscriber
from pipeline.tts.openai import OpenAISpeech
from pipeline.types import GenerationRequest, Message, ModelOutput, Prompt, TextDelta
from pipeline.workers import CancelToken, iterate
from tests.openai_endpoint import (
    CUT,
    PATIENCE_S,
    RESET,
    Answer,
    Endpoint,
    Gate,
    chunk,
    error_answer,
    events_answer,
    json_answer,
    said,
    sse,
)
from tests.threads import parley_threads

KEY = "sk-secret-7d1f"
ASK = GenerationRequest(Prompt((Message("user", "Who is there?"),)))


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture
def engine(endpoint: Endpoint) -> Iterator[OpenAIModel]:
    engine = make(endpoint)
    yield engine
    engine.close()


def make(endpoint: Endpoint, **options: Any) -> OpenAIModel:
    return OpenAIModel(OpenAIModel.Options(**{"base_url": endpoint.base_url, "model": "test", **options}))


def outputs(
    engine: OpenAIModel, cancel: CancelToken | None = None, timeout: float = PATIENCE_S
) -> AsyncGenerator[ModelOutput, None]:
    """The reply, driven as a turn drives it."""
    cancel = cancel or CancelToken()
    return iterate("llm", partial(engine.open().generate, ASK, cancel), cancel, timeout=timeout)


async def reply(engine: OpenAIModel) -> str:
    return "".join([output.text async for output in outputs(engine) if isinstance(output, TextDelta)])


async def failure(engine: OpenAIModel) -> StageError:
    with pytest.raises(StageError) as caught:
        await reply(engine)
    return caught.value


def slow(gate: Gate, *before: Gate) -> Answer:
    """A reply that says a word and waits, perhaps before its headers already."""
    return Answer(
        [*sse(chunk("Hello"), done=False), gate, *sse(*said("there"))], content_type="text/event-stream", before=before
    )


# --- connections ----------------------------------------------------------------------------------------------


async def test_calls_one_after_the_other_share_one_connection(endpoint: Endpoint, engine: OpenAIModel) -> None:
    engine.warm_up()
    for _ in range(20):
        assert await reply(engine) == endpoint.reply
    assert len(endpoint.asked("chat")) == 20
    assert endpoint.connections == 1


async def test_calls_at_the_same_time_do_not_wait_for_each_other(endpoint: Endpoint, engine: OpenAIModel) -> None:
    gates = [Gate() for _ in range(12)]
    endpoint.tell("chat", *map(slow, gates))
    calls = [asyncio.create_task(reply(engine)) for _ in gates]
    await asyncio.to_thread(endpoint.wait, "chat", 12)
    for gate in gates:
        gate.open()
    assert await asyncio.gather(*calls) == ["Hellothere"] * 12


async def test_a_kept_connection_that_the_endpoint_has_closed_is_replaced(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    for end in (CUT, RESET):
        await reply(engine)
        # It closes when the next request comes in, which is what a closing that crosses it looks like.
        endpoint.tell("chat", Answer(before=[end]))
        assert await reply(engine) == endpoint.reply
    assert len(endpoint.asked("chat")) == 6


async def test_it_is_replaced_by_a_new_one_not_by_another_that_was_kept(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    gates = [Gate(), Gate()]
    endpoint.tell("chat", *map(slow, gates))
    calls = [asyncio.create_task(reply(engine)) for _ in gates]
    await asyncio.to_thread(endpoint.wait, "chat", 2)
    for gate in gates:
        gate.open()
    await asyncio.gather(*calls)
    endpoint.tell("chat", Answer(before=[CUT]))
    assert await reply(engine) == endpoint.reply
    assert endpoint.connections == 3


async def test_a_long_reply_comes_whole(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.reply = "word " * 2_000
    assert await reply(engine) == endpoint.reply


async def test_a_new_connection_that_is_closed_is_an_error_and_tried_once(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    for end in (CUT, RESET):
        endpoint.tell("chat", Answer(before=[end]))
        assert endpoint.base_url[7:-3] in (await failure(engine)).problem
    assert len(endpoint.asked("chat")) == 2


async def test_a_second_refusal_to_answer_is_an_error(endpoint: Endpoint, engine: OpenAIModel) -> None:
    await reply(engine)
    endpoint.tell("chat", Answer(before=[CUT]), Answer(before=[CUT]))
    assert "closed the connection" in (await failure(engine)).problem
    assert len(endpoint.asked("chat")) == 3


async def test_nothing_is_tried_again_once_a_byte_of_the_reply_has_come(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    await reply(engine)
    endpoint.tell("chat", Answer([*sse(chunk("Hel"), done=False), CUT], content_type="text/event-stream"))
    values = outputs(engine)
    assert await anext(values) == TextDelta("Hel")
    with pytest.raises(StageError, match="broke off in the middle"):
        await anext(values)
    assert len(endpoint.asked("chat")) == 2


async def test_an_endpoint_that_comes_back_is_used_again(endpoint: Endpoint, engine: OpenAIModel) -> None:
    await reply(engine)
    other = Endpoint()
    other.port = endpoint.port
    endpoint.close()
    try:
        assert "cannot be reached" in (await failure(engine)).problem
    finally:
        with other:
            assert await reply(engine) == other.reply
        endpoint.start = lambda: None  # type: ignore[method-assign]
        endpoint.close = lambda: None  # type: ignore[method-assign]


async def test_nobody_there_is_said_with_address_and_key(endpoint: Endpoint) -> None:
    engine = make(endpoint, base_url="http://127.0.0.1:9/v1")
    error = await failure(engine)
    assert "127.0.0.1:9 cannot be reached" in error.problem
    assert "`base_url` of the llm in models.yaml" in error.problem
    assert error.stage == "llm"
    engine.close()


async def test_a_host_that_does_not_exist_is_said(endpoint: Endpoint) -> None:
    engine = make(endpoint, base_url="http://no-such-host.invalid/v1")
    assert "no-such-host.invalid" in (await failure(engine)).problem
    engine.close()


async def test_connecting_takes_no_longer_than_it_may() -> None:
    with listening_to_nobody() as port:
        engine = OpenAIModel(
            OpenAIModel.Options(base_url=f"http://127.0.0.1:{port}/v1", model="m", connect_timeout=0.05)
        )
        error = await failure(engine)
        assert "took no connection within 0.05 s (`connect_timeout`" in error.problem
        engine.close()


@contextlib.contextmanager
def listening_to_nobody() -> Iterator[int]:
    """A port whose queue of connections is full: to connect there takes until it is given up."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()[1]


# --- cancelling -------------------------------------------------------------------------------------------------


async def test_closing_the_generator_closes_the_request(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.tell("chat", slow(Gate()))
    async with contextlib.aclosing(outputs(engine)) as values:
        assert await anext(values) == TextDelta("Hello")
    assert endpoint.wait("chat").gone.wait(PATIENCE_S)


@pytest.mark.parametrize("where", ["headers", "stream"])
async def test_the_token_closes_the_request_wherever_it_waits(
    endpoint: Endpoint, engine: OpenAIModel, where: str
) -> None:
    cancel, gate = CancelToken(), Gate()
    endpoint.tell("chat", slow(gate) if where == "stream" else slow(Gate(), gate))

    def cancel_when_it_waits() -> None:
        assert gate.reached.wait(PATIENCE_S)
        cancel.cancel()

    threading.Thread(target=cancel_when_it_waits).start()
    heard = [output async for output in outputs(engine, cancel)]
    assert heard in ([], [TextDelta("Hello")])
    assert endpoint.wait("chat").gone.wait(PATIENCE_S)


async def test_the_token_ends_a_connecting_that_takes_long() -> None:
    with listening_to_nobody() as port:
        engine = OpenAIModel(OpenAIModel.Options(base_url=f"http://127.0.0.1:{port}/v1", model="m", connect_timeout=60))
        cancel = CancelToken()
        asyncio.get_running_loop().call_later(0.05, cancel.cancel)
        async with asyncio.timeout(PATIENCE_S):
            assert [output async for output in outputs(engine, cancel)] == []
        engine.close()


async def test_a_request_cancelled_before_it_begins_is_not_made(endpoint: Endpoint, engine: OpenAIModel) -> None:
    cancel = CancelToken()
    cancel.cancel()
    assert [output async for output in outputs(engine, cancel)] == []
    assert await reply(engine) == endpoint.reply
    assert len(endpoint.asked("chat")) == 1


async def test_a_timeout_of_the_stage_closes_the_request(endpoint: Endpoint, engine: OpenAIModel) -> None:
    endpoint.tell("chat", slow(Gate()))
    values = outputs(engine, timeout=0.2)
    assert await anext(values) == TextDelta("Hello")
    with pytest.raises(StageError, match="no sign of life"):
        await anext(values)
    assert endpoint.wait("chat").gone.wait(PATIENCE_S)


async def test_a_cancelled_task_closes_the_request(endpoint: Endpoint, engine: OpenAIModel) -> None:
    gate = Gate()
    endpoint.tell("chat", slow(gate))
    task = asyncio.create_task(reply(engine))
    assert await asyncio.to_thread(gate.reached.wait, PATIENCE_S)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert endpoint.wait("chat").gone.wait(PATIENCE_S)


async def test_a_cancelled_request_disturbs_no_other(endpoint: Endpoint, engine: OpenAIModel) -> None:
    first, second = Gate(), Gate()
    endpoint.tell("chat", slow(first), slow(second))
    cancel = CancelToken()
    cancelled = asyncio.create_task(collect(outputs(engine, cancel)))
    assert await asyncio.to_thread(first.reached.wait, PATIENCE_S)
    other = asyncio.create_task(reply(engine))
    assert await asyncio.to_thread(second.reached.wait, PATIENCE_S)
    cancel.cancel()
    second.open()
    assert await other == "Hellothere"
    assert await cancelled == [TextDelta("Hello")]


async def collect(values: AsyncGenerator[ModelOutput, None]) -> list[ModelOutput]:
    return [value async for value in values]


async def test_a_reader_that_stops_reading_stops_the_endpoint(endpoint: Endpoint, engine: OpenAIModel) -> None:
    """What nobody reads must not pile up here."""
    endpoint.tell("chat", events_answer(*[chunk("word ", padding="x" * 10_000)] * 2_000))
    async with contextlib.aclosing(outputs(engine)) as values:
        await anext(values)
        request = endpoint.wait("chat")
        assert not request.answered.wait(0.3)
    assert request.gone.wait(PATIENCE_S)


# --- threads, descriptors, the end ---------------------------------------------------------------------------


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="counts descriptors by /proc")
async def test_neither_threads_nor_descriptors_grow(endpoint: Endpoint, engine: OpenAIModel) -> None:
    async def round_of_everything() -> None:
        await reply(engine)
        endpoint.tell("chat", slow(Gate()), error_answer(500, "no"), Answer(before=[CUT]))
        async with contextlib.aclosing(outputs(engine)) as values:
            await anext(values)
        for _ in range(2):
            with contextlib.suppress(StageError):
                await reply(engine)

    for _ in range(3):
        await round_of_everything()
    threads, files = threading.active_count(), descriptors()
    for _ in range(10):
        await round_of_everything()
    assert threading.active_count() <= threads
    assert descriptors() <= files + 2


@pytest.mark.filterwarnings("error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("kind", [OpenAIModel, OpenAISpeech, OpenAITranscriber])
async def test_closing_leaves_no_thread_and_no_socket(endpoint: Endpoint, kind: Any) -> None:
    before = set(threading.enumerate())
    engine = kind(kind.Options(base_url=endpoint.base_url, model="test"))
    engine.warm_up()
    assert parley_threads("http")
    engine.close()
    engine.close()
    assert set(threading.enumerate()) <= before
    del engine
    gc.collect()


async def test_closing_ends_what_is_under_way(endpoint: Endpoint) -> None:
    engine, gate = make(endpoint), Gate()
    endpoint.tell("chat", slow(gate))
    under_way = asyncio.create_task(failure(engine))
    assert await asyncio.to_thread(gate.reached.wait, PATIENCE_S)
    await asyncio.to_thread(engine.close)
    assert "has been closed" in (await under_way).problem
    assert endpoint.wait("chat").gone.wait(PATIENCE_S)
    assert "has been closed" in (await failure(engine)).problem


# --- errors -----------------------------------------------------------------------------------------------------

PAGE = b"<html><head><title>502 Bad Gateway</title></head><body><h1>nginx</h1></body></html>"


LONG, INVALID, FAULT = "context_length_exceeded", "invalid_request_error", "server_error"
MISSING = {"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}
ODD = {"error": {"message": "an\u200bother", "type": ["odd"], "code": {"odd": 1}}}


@pytest.mark.parametrize(
    ("answer", "named", "says"),
    [
        (error_answer(429, "Slow", "rate_limit_exceeded", "requests"), ("rate_limit_exceeded", "requests"), "Slow"),
        (error_answer(429, "No money", "out", "insufficient_quota"), ("out", "insufficient_quota"), "No money"),
        (error_answer(401, "Wrong", "invalid_api_key"), ("invalid_api_key", INVALID), "Check `api_key` of the llm"),
        (error_answer(404, "No such model"), (None, INVALID), "Check `model` and `base_url` of the llm"),
        (error_answer(400, "too long", LONG), (LONG, INVALID), "400 Bad Request: too long."),
        (error_answer(400, "The maximum context length is 10.", 400, "Bad"), (LONG, "Bad"), "is 10."),
        (error_answer(400, "x", 400, "exceed_context_size_error"), (LONG, "exceed_context_size_error"), "x"),
        (json_answer({"error": "model 'x' not found"}, 404), (None, FAULT), "model 'x' not found"),
        (json_answer({"detail": "Not Found"}, 404), (None, FAULT), "Not Found"),
        (json_answer(MISSING, 422), (None, FAULT), "body.model: Field required"),
        (json_answer({"message": "busy", "code": 503}, 503), (None, FAULT), "busy"),
        (json_answer(["odd"], 500), (None, FAULT), "odd"),
        (json_answer(ODD, 500), (None, FAULT), "an\u200bother"),
        (Answer([PAGE], 502, content_type="text/html"), (None, FAULT), "502 Bad Gateway"),
        (Answer([b"\xff\xfe no text"], 500, content_type=None), (None, FAULT), "no text"),
        (Answer([], 503, content_type=None), (None, FAULT), "503 Service Unavailable. Its log may say why."),
        (Answer([b'{"error": {"message": "half'], 500), (None, FAULT), "half"),
    ],
)
async def test_a_refusal_carries_what_the_endpoint_calls_it(
    endpoint: Endpoint, engine: OpenAIModel, answer: Answer, named: tuple[str | None, str], says: str
) -> None:
    endpoint.tell("chat", answer)
    error = await failure(engine)
    assert (error.code, error.kind) == named
    assert says in error.problem
    assert error.problem.startswith(f"127.0.0.1:{endpoint.port} answered {answer.status}")
    assert len(error.problem) < 700


async def test_a_long_error_is_shortened_and_an_endless_one_not_waited_for(
    endpoint: Endpoint, engine: OpenAIModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.http.client._ERROR_BODY_S", 0.1)
    endpoint.tell("chat", Answer([b"x" * 10_000_000], 500, content_type="text/plain"))
    assert len((await failure(engine)).problem) < 700
    gate = Gate()
    endpoint.tell("chat", Answer([b'{"error": "half of it', gate], 500))
    assert "half of it" in (await failure(engine)).problem
    assert endpoint.wait("chat", 2).gone.wait(PATIENCE_S)


async def test_a_wrong_base_url_is_told_what_most_have(endpoint: Endpoint) -> None:
    engine = make(endpoint, base_url=endpoint.base_url.removesuffix("/v1"))
    assert "most end with /v1" in (await failure(engine)).problem
    engine.close()


@pytest.mark.parametrize(
    "body", [PAGE, b'{"status": "fine"}', b"", b"plain text", b"[1, 2]", b'{"choices": "none"}', b"data: {broken\n\n"]
)
async def test_an_answer_that_is_none_is_an_error_although_its_status_is_200(
    endpoint: Endpoint, engine: OpenAIModel, body: bytes
) -> None:
    for content_type in ("text/html", "application/json", "text/event-stream"):
        endpoint.tell("chat", Answer([body], content_type=content_type))
        assert f"127.0.0.1:{endpoint.port}" in (await failure(engine)).problem


async def test_what_speaks_no_http_is_an_error() -> None:
    async def babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail.example ESMTP\r\n")
        await writer.drain()
        await reader.read(1)
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    engine = OpenAIModel(OpenAIModel.Options(base_url=f"http://127.0.0.1:{port}/v1", model="m"))
    assert f"127.0.0.1:{port}" in (await failure(engine)).problem
    await asyncio.to_thread(engine.close)
    server.close()


async def test_a_redirect_on_the_same_host_is_followed_and_another_named(
    endpoint: Endpoint, engine: OpenAIModel
) -> None:
    moved = Answer([], 307, headers={"Location": "/v1/chat/completions?moved=1"})
    endpoint.tell("chat", moved)
    assert await reply(engine) == endpoint.reply
    assert [request.json["model"] for request in endpoint.asked("chat")] == ["test", "test"]
    endpoint.tell("chat", Answer([], 307, headers={"Location": "http://127.0.0.2:1/v1/chat/completions"}))
    error = await failure(engine)
    assert "It leads to http://127.0.0.2:1/v1/chat/completions" in error.problem
    endpoint.always("chat", moved)
    assert "307" in (await failure(engine)).problem


# --- the key ------------------------------------------------------------------------------------------------------


async def test_the_key_and_further_headers_are_sent(endpoint: Endpoint) -> None:
    engine = make(endpoint, api_key=f"{KEY}\n", headers={"X-Project": "parley", "user-agent": "mine"})
    await reply(engine)
    sent = endpoint.wait("chat").headers
    assert sent["authorization"] == f"Bearer {KEY}"
    assert (sent["x-project"], sent["user-agent"]) == ("parley", "mine")
    engine.close()


async def test_a_key_of_the_environment_goes_to_openai_alone(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    engine = make(endpoint)
    await reply(engine)
    assert "authorization" not in endpoint.wait("chat").headers
    engine.close()
    for url in ("http://api.openai.com/v1", "https://api.openai.com.example.org/v1"):
        other = make(endpoint, base_url=url)
        assert "Authorization" not in other.client.endpoint.headers
        other.close()
    openai = make(endpoint, base_url="https://api.openai.com/v1")
    assert openai.client.endpoint.headers["Authorization"] == f"Bearer {KEY}"
    openai.close()


async def test_the_key_is_never_shown(endpoint: Endpoint, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    secret = "header-secret-99"
    options = OpenAIModel.Options(base_url=endpoint.base_url, model="test", api_key=KEY, headers={"X-Token": secret})
    shown = [repr(options), str(options)]
    engine = OpenAIModel(options)
    said_twice = f"Incorrect key {KEY} and {secret}. "
    echo = said_twice.ljust(390, "x") + KEY  # where a message is cut
    endpoint.tell("models", error_answer(500, echo))
    engine.warm_up()
    endpoint.tell("chat", error_answer(401, echo), json_answer({"error": echo}), json_answer({"odd": echo}))
    endpoint.tell(
        "chat", Answer([b"<title>" + b"x" * 70 + KEY.encode()]), Answer([b"data: " + b"x" * 70 + KEY.encode()])
    )
    shown += [(await failure(engine)).problem for _ in range(5)]
    endpoint.tell("models", error_answer(401, echo))
    with pytest.raises(EngineError) as caught:
        engine.warm_up()
    shown += [str(caught.value), caplog.text]
    assert not [text for text in shown if KEY[:8] in text or secret[:10] in text]
    engine.close()


# --- options ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("base_url", "127.0.0.1:11434/v1"),
        ("base_url", "ftp://127.0.0.1/v1"),
        ("base_url", "http://"),
        ("base_url", "http://host:99999/v1"),
        ("base_url", "http://[::1/v1"),
        ("base_url", ""),
        ("base_url", f"http://user:{KEY}@127.0.0.1/v1"),
        ("base_url", "http://127.0.0.1/v1/chat/completions"),
        ("base_url", "http://127.0.0.1/v1/audio/speech/"),
        ("api_key", ""),
        ("api_key", "two words"),
        ("api_key", "ключ"),
        ("headers", {"Bad Name": "x"}),
        ("headers", {"X": "two\r\nlines"}),
        ("headers", {"content-type": "text/plain"}),
        ("ca_file", "/nowhere/ca.pem"),
        ("ca_file", __file__),
    ],
)
def test_an_option_that_cannot_be_meant_stops_the_start(option: str, value: Any) -> None:
    for kind in (OpenAIModel, OpenAISpeech, OpenAITranscriber):
        given = {"base_url": "https://127.0.0.1/v1", "model": "m", option: value}
        with pytest.raises(EngineError) as caught:
            kind(kind.Options(**given))
        assert caught.value.option == option
        assert KEY not in str(caught.value)
    assert not parley_threads("http")


def test_a_ca_file_without_https_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="http") as caught:
        OpenAIModel(OpenAIModel.Options(base_url="http://127.0.0.1/v1", model="m", ca_file=str(tmp_path / "ca.pem")))
    assert caught.value.option == "ca_file"


async def test_a_slash_at_the_end_of_the_base_url_and_a_query_are_fine(endpoint: Endpoint) -> None:
    for url in (f"{endpoint.base_url}/", f"{endpoint.base_url}?api-version=1"):
        engine = make(endpoint, base_url=url)
        assert await reply(engine) == endpoint.reply
        engine.close()


def test_a_loaded_engine_says_where_it_computes(endpoint: Endpoint, engine: OpenAIModel) -> None:
    assert engine.device == f"127.0.0.1:{endpoint.port}"
    assert OpenAIModel.devices == OpenAISpeech.devices == OpenAITranscriber.devices == ()


# --- the start ----------------------------------------------------------------------------------------------------


def test_the_start_stops_for_a_refused_key(endpoint: Endpoint, engine: OpenAIModel) -> None:
    for status in (401, 403):
        endpoint.tell("models", error_answer(status, "no"))
        with pytest.raises(EngineError, match="wants a key") as caught:
            engine.warm_up()
        assert caught.value.option == "api_key"


@pytest.mark.parametrize(
    ("answer", "warning"),
    [
        (error_answer(500, "still loading"), "still loading"),
        (Answer(before=[CUT]), "does not answer yet"),
        (Answer([PAGE], content_type="text/html"), "not a list of models"),
        (json_answer({"data": [{"id": "tests"}, {"id": "other"}]}), "does not list the model `test`; it lists `tests`"),
        (error_answer(404, "no such route"), None),
        (json_answer({"data": []}), None),
        (json_answer({"data": [{"id": "test:latest"}]}), None),
    ],
)
def test_the_start_goes_on_with_at_most_a_warning(
    endpoint: Endpoint, engine: OpenAIModel, caplog: pytest.LogCaptureFixture, answer: Answer, warning: str | None
) -> None:
    endpoint.always("models", answer)  # a GET is tried twice by aiohttp itself
    engine.warm_up()
    assert len(caplog.records) == (0 if warning is None else 1)
    assert (warning or "") in caplog.text


def test_the_start_waits_for_nobody_who_does_not_answer(
    endpoint: Endpoint, engine: OpenAIModel, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.http.models_list.TIMEOUT_S", 0.1)
    endpoint.tell("models", Answer(before=[Gate()]))
    engine.warm_up()
    assert "does not answer yet" in caplog.text
    assert endpoint.wait("models").gone.wait(PATIENCE_S)


# --- proxies and TLS ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "loopback"),
    [
        ("localhost", True),
        ("parley.localhost", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("192.168.0.2", False),
        ("localhost.example.org", False),
    ],
)
def test_this_machine_is_told_from_others(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


async def test_a_proxy_of_the_environment_is_for_other_machines_only(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{endpoint.port}")
    engine = make(endpoint, base_url="http://elsewhere.invalid/v1")
    assert await reply(engine) == endpoint.reply  # the endpoint plays the proxy: it is asked for the whole address
    engine.close()
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    engine = make(endpoint)
    assert await reply(engine) == endpoint.reply
    engine.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for localhost that nobody has signed but itself; its key lies beside it."""
    folder = tmp_path_factory.mktemp("tls")
    making = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    files = "-keyout key.pem -out certificate.pem -addext subjectAltName=DNS:localhost"
    subprocess.run([*making.split(), *files.split()], cwd=folder, check=True, capture_output=True)
    return folder / "certificate.pem"


async def test_a_certificate_is_checked_against_the_ca_file(certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate, certificate.with_name("key.pem"))
    with Endpoint(tls=server) as endpoint:
        trusting = make(endpoint, ca_file=str(certificate))
        for _ in range(3):
            assert await reply(trusting) == endpoint.reply
        assert endpoint.connections == 1
        endpoint.tell("chat", slow(Gate()))
        async with contextlib.aclosing(outputs(trusting)) as values:
            await anext(values)
        assert endpoint.wait("chat", 4).gone.wait(PATIENCE_S)
        trusting.close()
        wary = make(endpoint)
        error = await failure(wary)
        assert "secure connection" in error.problem
        assert "ca_file" in error.problem
        wary.close()
