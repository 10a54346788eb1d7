"""The HTTP application: who may connect, to which pipeline, and the running sessions."""

import asyncio
import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from pipeline.config import Config, UnknownModelError
from pipeline.line import Line
from server import client_secrets, cors, logs, metrics, origins, websocket, wire
from server.auth import Keys, NotAdmitted, Opening, credentials_of, subprotocols_of
from server.client_secrets import Unanswerable
from server.ids import new_id
from server.page import Page
from server.profile import profile_of
from server.realtime.call import Call
from server.realtime.refusal import Refusal
from server.realtime.schema import Session as SessionObject
from server.realtime.schema import SessionKind
from server.realtime.session_config import Profile, initial_session, names_a_transcriber, updated_session
from server.realtime.transcription_session import shown
from server.replies import refusal
from server.rest import routes as rest
from server.session import SESSION_S, Session
from server.traces import Traces
from server.voice import VoiceHub
from server.webrtc.calls import Calls
from server.webrtc.options import WebRtcOptions
from server.wire import Dialect

_Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]

_FOR_PAGES = (*wire.PATHS, *wire.CALLS, *wire.SECRETS)
"""The doors that pages from elsewhere may use, if they may come at all."""

_INTENTS: Mapping[str, SessionKind] = {"conversation": "realtime", "transcription": "transcription"}
"""What a client may say in the URL of the kind of session that it wants."""

_OPENING = web.RequestKey("opening", Opening)
"""What the client's ephemeral key stands for, where it came with one."""


class Server:
    """The loaded pipelines and the sessions that run on them."""

    def __init__(
        self,
        config: Config,
        lines: Mapping[str, Line],
        keys: Keys | None = None,
        traces: Traces | None = None,
        webrtc: WebRtcOptions = WebRtcOptions(),  # noqa: B008 - frozen
    ) -> None:
        logs.keep_keys_out()
        self._config = config
        self._lines = lines
        self._keys = keys or Keys()
        self._traces = traces
        self._page = Page()
        detectors = {id(line.vad): line for line in lines.values()}  # each once: a hub is a thread
        self._hubs = {key: VoiceHub(line.vad, line.timeouts.vad) for key, line in detectors.items()}
        self._sessions: set[asyncio.Task[None]] = set()
        self._calls = Calls(webrtc, self._plan)

    def app(self) -> web.Application:
        app = web.Application(middlewares=[self._guard])
        app.router.add_get("/", self._index)
        for path in wire.PATHS:
            app.router.add_get(path, self._realtime)
        for path in (*wire.PATHS, *wire.CALLS):
            app.router.add_post(path, self._call)
        self._calls.add_routes(app.router)
        for path in wire.SECRETS:
            app.router.add_post(path, self._client_secrets)
        load = metrics.Metrics(tuple(self._hubs.values()), lambda: len(self._sessions) + len(self._calls))
        app.router.add_get(metrics.PATH, load.answer)
        rest.add_routes(app.router, self._config, self._lines)
        app.on_startup.append(self._startup)
        app.on_shutdown.append(self._shutdown)
        return app

    def close(self) -> None:
        """Ends what the sessions shared. The pipelines are their owner's to close."""
        for hub in self._hubs.values():
            hub.close()

    @web.middleware
    async def _guard(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        """Stands before every door: who has no key where one is asked for, and which pages may come."""
        if (page := self._page.answer(request)) is not None:
            return page
        if (told := cors.preflight(request, _FOR_PAGES)) is not None:
            return told
        response = await self._admitted(request, handler)
        if isinstance(response, web.Response) and cors.is_open(request, _FOR_PAGES):
            cors.admit(request, response)
        return response

    async def _admitted(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        try:
            admission = self._keys.admit(credentials_of(request.headers), to_a_session=wire.is_session(request.path))
        except NotAdmitted as error:
            return refusal(401, "invalid_api_key", str(error), headers={"WWW-Authenticate": "Bearer"})
        own = f"{request.scheme}://{request.host}"
        if not admission.proved and (site := origins.foreign(request.headers, own)) is not None:
            problem = f"Pages of {site} may not use this server, unless it has a key (--api-key) and they show it."
            return refusal(403, "origin_not_allowed", problem)
        if admission.opening is not None:
            request[_OPENING] = admission.opening
        return await handler(request)

    async def _index(self, request: web.Request) -> web.Response:
        scheme = "wss" if request.secure else "ws"
        return web.Response(
            text=f"Parley speaks the OpenAI Realtime protocol at {scheme}://{request.host}/v1/realtime\n"
            f"Pipelines: {', '.join(self._lines)}\n"
        )

    async def _realtime(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Upgrade", "").lower() != "websocket":
            scheme = "wss" if request.secure else "ws"
            return refusal(
                426,
                "upgrade_required",
                f"This is a WebSocket endpoint: connect with {scheme}://, not {request.scheme}://.",
            )
        if "call_id" in request.query:
            problem = "`?call_id=` joins a call from beside. Parley cannot yet: use the call's data channel."
            return refusal(400, "unsupported_parameter", problem, "call_id")
        dialect = wire.choose(request.headers, subprotocols_of(request.headers), request.path)
        try:
            begin = self._plan(request, request.get(_OPENING, Opening()), dialect)
        except UnknownModelError as error:
            return refusal(404, "model_not_found", str(error), "model")
        except Refusal as error:
            return refusal(400, error.code, error.message, error.param)
        connection = websocket.new_websocket()
        await connection.prepare(request)
        await self._serve(connection, begin())
        return connection

    async def _call(self, request: web.Request) -> web.StreamResponse:
        dialect = wire.choose_for_call(request.headers, request.path)
        try:
            return await self._calls.begin(request, request.get(_OPENING, Opening()), dialect)
        except UnknownModelError as error:
            return refusal(404, "model_not_found", str(error), "model")
        except Refusal as error:
            told = dialect.refusal(error)
            return refusal(400, told.code, told.message, told.param)
        except Unanswerable as error:
            return error.answer

    def _plan(
        self, request: web.Request, opening: Opening, dialect: Dialect, call: Call | None = None
    ) -> Callable[[], Session]:
        """Returns what makes the session that a client asks for.

        Raises:
            UnknownModelError: its pipeline is not loaded.
            Refusal: it cannot be had like that.
        """
        asked = request.query.get("model") or request.query.get("deployment")
        kind = _kind(request.query.get("intent"), opening)
        line = self._line(asked, opening, kind)
        profile = self._profile(line)
        begun = self._begun(profile, opening, asked or line.name)
        dialect.check(begun)
        if call is not None:
            call.check_session(begun)
        return functools.partial(
            Session,
            line,
            self._hubs[id(line.vad)],
            profile,
            dialect,
            asked or opening.model or line.name,
            kind=kind,
            changes=opening.changes,
            traces=self._traces,
            timings=_asks_for_timings(request),
            call=call,
        )

    async def _serve(self, connection: web.WebSocketResponse, session: Session) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._sessions.add(task)
        try:
            await websocket.serve(connection, session)
        finally:
            self._sessions.discard(task)

    async def _client_secrets(self, request: web.Request) -> web.StreamResponse:
        form = wire.SECRETS[request.path]
        try:
            asked, size = await client_secrets.read_request(request, form)
            opening = client_secrets.opening_of(asked.session)
            line = self._line(None, opening, opening.kind or "realtime")
            session = self._begun(self._profile(line), opening, opening.model or line.name)
            return client_secrets.issue(self._keys, form, asked, size=size, opening=opening, session=shown(session))
        except UnknownModelError as error:
            told, status = form.refusal(Refusal("model_not_found", str(error), "session.model")), 404
        except Refusal as error:
            told, status = form.refusal(error), 400
        except Unanswerable as error:
            return error.answer
        return refusal(status, told.code, told.message, told.param)

    def _line(self, asked: str | None, opening: Opening, kind: SessionKind) -> Line:
        """Returns the pipeline that a client means.

        Raises:
            UnknownModelError: it is not loaded.
            Refusal: its key is for sessions with another one.
        """
        try:
            name = self._config.resolve(asked or opening.model, self._lines)
        except UnknownModelError:
            # Clients that have to name a model for a transcription session name the one that transcribes.
            if kind == "realtime" or not asked or not names_a_transcriber(asked):
                raise
            name = self._config.resolve(None, self._lines)
        if asked and opening.model and self._config.resolve(opening.model, self._lines) != name:
            raise Refusal(
                "model_mismatch",
                f"This ephemeral key is for sessions with '{opening.model}', not with '{asked}'. Leave `model` out of "
                "the URL, or ask for a key for the other one.",
                "model",
            )
        return self._lines[name]

    def _profile(self, line: Line) -> Profile:
        return dataclasses.replace(profile_of(line, self._config), traces=self._traces is not None)

    def _begun(self, profile: Profile, opening: Opening, model: str) -> SessionObject:
        """Returns what a session would begin with now.

        Raises:
            Refusal: the pipeline cannot do what is asked for.
        """
        session = initial_session(profile, new_id("sess"), int(time.time()) + SESSION_S, opening.kind or "realtime")
        if opening.changes is None:
            return session
        return updated_session(session, opening.changes, profile, False, model)

    async def _startup(self, _: web.Application) -> None:
        await self._calls.open()

    async def _shutdown(self, _: web.Application) -> None:
        await self._calls.shutdown()
        for task in self._sessions:
            task.cancel()
        await asyncio.gather(*self._sessions, return_exceptions=True)


def _kind(intent: str | None, opening: Opening) -> SessionKind:
    """Returns the kind of session that a client connects to.

    Raises:
        Refusal: there is no such kind, or its key is for sessions of another one.
    """
    if intent is None:
        return opening.kind or "realtime"
    if intent not in _INTENTS:
        known = " or ".join(f"'{each}'" for each in _INTENTS)
        raise Refusal("invalid_value", f"`intent` is {known}, or left out.", "intent")
    if opening.kind not in (None, _INTENTS[intent]):
        raise Refusal(
            "intent_mismatch",
            f"This ephemeral key is for {opening.kind} sessions. Leave `intent` out of the URL, or get another key.",
            "intent",
        )
    return _INTENTS[intent]


def _asks_for_timings(request: web.Request) -> bool:
    """Whether the client wants to be told where the time of its responses goes: see timings.py.

    Raises:
        Refusal: it says neither yes nor no.
    """
    asked = request.query.get("timings", "false")
    if asked not in ("true", "false"):
        raise Refusal("invalid_value", f"`?timings={asked}`: it is true or false.", "timings")
    return asked == "true"
