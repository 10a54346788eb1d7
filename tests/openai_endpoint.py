"""An HTTP endpoint with the shape of OpenAI's API, on loopback and a thread of its own, that does what a test tells it.

    with Endpoint() as endpoint:
        endpoint.heard = "turn on the lights"           # what every transcription says; or a function of the samples
        endpoint.reply = "It is done. Good night."      # what every chat says; or a function of the request's JSON
        engine = OpenAIModel(OpenAIModel.Options(base_url=endpoint.base_url, model="any"))

Speech is a tone of 60 ms a character, at 440 Hz, so that a test can tell how much of a text was said. `tell` puts the
next answers of a route in place of that: odd statuses and bodies, pauses, cut connections. What was asked stands in
`requests`, whether the client went away in each `Request.gone`.
"""

import asyncio
import base64
import concurrent.futures
import contextlib
import json
import socket
import ssl
import struct
import threading
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, TypeAlias

import numpy as np
from aiohttp import web

from pipeline.types import Pcm16

PATIENCE_S = 10.0
"""After how long a test gives up on what takes milliseconds."""

RATE = 24_000
"""Samples a second of the speech."""

Route: TypeAlias = Literal["chat", "speech", "transcription", "models"]

_PATHS: dict[str, Route] = {
    "/v1/chat/completions": "chat",
    "/v1/audio/speech": "speech",
    "/v1/audio/transcriptions": "transcription",
    "/v1/models": "models",
}


class Gate:
    """A place in an answer where the endpoint waits until the test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self._open: concurrent.futures.Future[None] = concurrent.futures.Future()

    def open(self) -> None:
        self._open.set_result(None)

    async def wait(self) -> None:
        self.reached.set()
        await asyncio.shield(asyncio.wrap_future(self._open))


class End:
    """A way in which an answer ends before it is whole."""


CUT = End()
"""The connection is closed, as by a server that has died."""
RESET = End()
"""The connection is reset (RST)."""

Step: TypeAlias = "bytes | Gate | End"


@dataclass
class Answer:
    """One answer, step by step: bytes are sent, a Gate waits, CUT and RESET end the connection.

    `before` comes before the headers. `cut` sends the bytes in pieces of that size, each in a chunk of its own.
    `length` says how long the body is, in place of chunks. `reads` is false for one that does not wait for the body of
    the request.
    """

    steps: Sequence[Step] = ()
    status: int = 200
    content_type: str | None = "application/json"
    headers: dict[str, str] = field(default_factory=dict)
    before: Sequence[Step] = ()
    cut: int = 0
    length: int | None = None
    reads: bool = True


def json_answer(value: object, status: int = 200, **more: Any) -> Answer:
    """A JSON body."""
    return Answer([json.dumps(value).encode()], status, **more)


def error_answer(status: int, message: str, code: object = None, kind: object = "invalid_request_error") -> Answer:
    """An error as OpenAI sends it."""
    return json_answer({"error": {"message": message, "type": kind, "param": None, "code": code}}, status)


def sse(*events: object, done: bool = True) -> list[bytes]:
    """Events as steps of an answer: JSON for whatever is not text, and `[DONE]`."""
    texts = [event if isinstance(event, str) else json.dumps(event) for event in events]
    return [f"data: {text}\n\n".encode() for text in (*texts, *(["[DONE]"] if done else []))]


def events_answer(*events: object, done: bool = True, **more: Any) -> Answer:
    """A stream of events."""
    return Answer(sse(*events, done=done), content_type="text/event-stream", **more)


def chunk(content: str | None = None, *, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    """A chunk of a chat completion."""
    if content is not None:
        delta["content"] = content
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "test", "choices": [choice]}


def usage_chunk(prompt: int, completion: int, cached: int = 0) -> dict[str, Any]:
    """The chunk that says what a chat completion cost."""
    details = {"cached_tokens": cached}
    usage = {"prompt_tokens": prompt, "completion_tokens": completion, "prompt_tokens_details": details}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [], "usage": usage}


def said(text: str) -> list[dict[str, Any]]:
    """The chunks of a reply: its words, each with the space before it."""
    words = text.split(" ")
    pieces = [words[0], *(f" {word}" for word in words[1:])]
    return [chunk("", role="assistant"), *(chunk(piece) for piece in pieces), chunk(finish="stop")]


def tone(seconds: float, rate: int = RATE) -> Pcm16:
    """A tone of 440 Hz."""
    return (8_000 * np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * 440 / rate))).astype(np.int16)


def wav(samples: Pcm16, rate: int = RATE, size: int | None = None) -> bytes:
    """A WAV file; `size` is what its header says of the bytes of samples."""
    data = samples.astype("<i2").tobytes()
    said_size = len(data) if size is None else size
    header = struct.pack(
        "<4sI4s4sIHHIIHH", b"RIFF", min(said_size + 36, 0xFFFFFFFF), b"WAVE", b"fmt ", 16, 1, 1, rate, rate * 2, 2, 16
    )
    return header + struct.pack("<4sI", b"data", said_size) + data


@dataclass
class Part:
    """A field of a form, or a file."""

    name: str
    value: bytes
    filename: str | None = None


class Request:
    """What a client asked. Its body grows while it arrives."""

    def __init__(self, method: str, path: str, headers: Iterable[tuple[str, str]]) -> None:
        self.method = method
        self.path = path
        self.headers = {name.lower(): value for name, value in headers}
        self._body = bytearray()
        self.whole = threading.Event()
        """Set when the body has arrived."""
        self.gone = threading.Event()
        """Set when the client went away before it had its answer."""
        self.answered = threading.Event()
        """Set when the answer has been sent, or cut off."""
        self._grown = threading.Condition()

    @property
    def body(self) -> bytes:
        """What has arrived of the body."""
        return bytes(self._body)

    @property
    def size(self) -> int:
        """How many bytes have arrived."""
        return len(self._body)

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def parts(self) -> list[Part]:
        """The body as a form."""
        boundary = self.headers["content-type"].partition("boundary=")[2].encode()
        parts = []
        for raw in self.body.split(b"--" + boundary)[1:-1]:
            head, _, value = raw.removeprefix(b"\r\n").partition(b"\r\n\r\n")
            names = dict(pair.split("=", 1) for pair in head.decode().replace("\r\n", ";").split("; ") if "=" in pair)
            names = {key.strip(): text.partition(";")[0].strip('"') for key, text in names.items()}
            parts.append(Part(names["name"], value.removesuffix(b"\r\n"), names.get("filename")))
        return parts

    @property
    def fields(self) -> list[tuple[str, str]]:
        """The form's fields other than files, in order."""
        return [(part.name, part.value.decode()) for part in self.parts if part.filename is None]

    @property
    def file(self) -> bytes:
        """The form's file."""
        return next(part.value for part in self.parts if part.filename is not None)

    @property
    def samples(self) -> Pcm16:
        """The samples of the form's WAV file, whatever its header says of their number."""
        return np.frombuffer(self.file[44:], "<i2")

    def add(self, piece: bytes) -> None:
        with self._grown:
            self._body += piece
            self._grown.notify_all()

    def wait_for(self, size: int) -> None:
        """Waits until the body has so many bytes. Raises AssertionError when it never does."""
        with self._grown:
            assert self._grown.wait_for(lambda: self.size >= size, PATIENCE_S), f"only {self.size} bytes came"


class Endpoint:
    """The endpoint. `base_url` is what engines are given. Use as a context manager, or `start` and `close`."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.heard: str | Callable[[Pcm16], str] = "hello there"
        self.reply: str | Callable[[dict[str, Any]], str] = "Hello there. How are you?"
        self.models = ["test", "whisper-1", "tts-1"]
        self.requests: list[Request] = []
        self.port = 0
        self._tls = tls
        self._told: dict[str, deque[Answer]] = defaultdict(deque)
        self._always: dict[str, Answer] = {}
        self._clients: set[tuple[Any, ...]] = set()
        self._arrived = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()

    # --- for tests ---

    @property
    def base_url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{'localhost' if self._tls else '127.0.0.1'}:{self.port}/v1"

    @property
    def connections(self) -> int:
        """How many connections have brought a request."""
        return len(self._clients)

    def tell(self, route: Route, *answers: Answer) -> None:
        """Has the next requests of a route answered so, one each."""
        self._told[route].extend(answers)

    def always(self, route: Route, answer: Answer) -> None:
        """Has every further request of a route answered so."""
        self._always[route] = answer

    def asked(self, route: Route) -> list[Request]:
        """The requests of a route, in order."""
        return [request for request in list(self.requests) if _PATHS.get(request.path) == route]

    def wait(self, route: Route, count: int = 1) -> Request:
        """Waits until a route has been asked so often. Returns the request that makes it that."""
        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(self.asked(route)) >= count, PATIENCE_S)
        assert arrived, f"{route} was asked {len(self.asked(route))} times only"
        return self.asked(route)[count - 1]

    def __enter__(self) -> "Endpoint":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Begins to listen."""
        ready = threading.Event()
        self._thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(ready),), daemon=True)
        self._thread.start()
        assert ready.wait(PATIENCE_S)

    def close(self) -> None:
        """Ends every connection and the thread."""
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(PATIENCE_S)
        assert not self._thread.is_alive()
        self._loop.close()

    # --- on the thread ---

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True)
        await site.start()
        self.port = runner.addresses[0][1]
        ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, incoming: web.Request) -> web.StreamResponse:
        assert incoming.transport is not None
        request = Request(incoming.method, incoming.path, incoming.headers.items())
        with self._arrived:
            self._clients.add(incoming.transport.get_extra_info("peername"))
            self.requests.append(request)
            self._arrived.notify_all()
        route = _PATHS.get(incoming.path)
        told = self._told[route or ""]
        answer = told.popleft() if told else self._always.get(route or "")
        try:
            if answer is None or answer.reads:
                async for piece in incoming.content.iter_any():
                    request.add(piece)
                request.whole.set()
            return await self._answer(incoming, answer or self._usual(route, request))
        except (asyncio.CancelledError, ConnectionError):
            request.gone.set()
            raise
        finally:
            request.answered.set()

    async def _answer(self, incoming: web.Request, answer: Answer) -> web.StreamResponse:
        headers = dict(answer.headers)
        if answer.content_type is not None:
            headers["Content-Type"] = answer.content_type
        if answer.length is not None:
            headers["Content-Length"] = str(answer.length)
        response = web.StreamResponse(status=answer.status, headers=headers)
        for step in answer.before:
            if not await self._step(incoming, step, None, 0):
                return response
        await response.prepare(incoming)
        for step in answer.steps:
            if not await self._step(incoming, step, response, answer.cut):
                return response
        with contextlib.suppress(ConnectionError):
            await response.write_eof()
        return response

    async def _step(self, incoming: web.Request, step: Step, response: web.StreamResponse | None, cut: int) -> bool:
        """Takes a step. Returns whether there may be another."""
        match step:
            case Gate():
                await step.wait()
            case End():
                assert incoming.transport is not None
                if step is RESET:
                    sock = incoming.transport.get_extra_info("socket")
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    incoming.transport.abort()
                else:
                    incoming.transport.close()
                return False
            case bytes() if response is not None:
                for start in range(0, len(step), cut or len(step) or 1):
                    await response.write(step[start : start + (cut or len(step))])
                    if cut:
                        await asyncio.sleep(0)
        return True

    def _usual(self, route: Route | None, request: Request) -> Answer:
        match route:
            case "models":
                return json_answer(
                    {"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]}
                )
            case "chat":
                return self._chat(request.json)
            case "speech":
                return self._speech(request.json)
            case "transcription":
                text = self.heard if isinstance(self.heard, str) else self.heard(request.samples)
                if ("stream", "true") in request.fields:
                    deltas = [{"type": "transcript.text.delta", "delta": f"{word} "} for word in text.split()]
                    return events_answer(*deltas, {"type": "transcript.text.done", "text": text}, done=False)
                return json_answer({"text": text})
        return error_answer(404, f"There is no {request.path} here.", "unknown_url")

    def _chat(self, body: dict[str, Any]) -> Answer:
        text = self.reply if isinstance(self.reply, str) else self.reply(body)
        prompt = sum(len(str(message.get("content") or "").split()) for message in body["messages"])
        usage = usage_chunk(prompt, len(text.split()))
        if not body.get("stream"):
            message = {"role": "assistant", "content": text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return json_answer({"object": "chat.completion", "choices": [choice], "usage": usage["usage"]})
        wanted = (body.get("stream_options") or {}).get("include_usage")
        return events_answer(*said(text), *([usage] if wanted else []))

    def _speech(self, body: dict[str, Any]) -> Answer:
        samples = tone(0.06 * len(body["input"]) / body.get("speed", 1.0))
        if body.get("stream_format") == "sse":
            pieces = [samples[start : start + 2_400] for start in range(0, len(samples), 2_400)]
            deltas = [
                {"type": "speech.audio.delta", "audio": base64.b64encode(piece.tobytes()).decode()} for piece in pieces
            ]
            return events_answer(*deltas, {"type": "speech.audio.done"}, done=False)
        if body.get("response_format") == "wav":
            return Answer([wav(samples)], content_type="audio/wav")
        return Answer([samples.astype("<i2").tobytes()], content_type="audio/pcm")
