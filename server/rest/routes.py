"""The endpoints, and what every request passes through on its way to its handler."""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeAlias

from aiohttp import web

from pipeline.config import Config
from pipeline.errors import StageError
from pipeline.line import Line
from server.rest.chat import complete_chat
from server.rest.errors import ApiError, of_fault, of_stage
from server.rest.models import list_models, retrieve_model
from server.rest.service import Service
from server.rest.speech import create_speech
from server.rest.transcription import create_transcription

log = logging.getLogger(__name__)

_Handler: TypeAlias = Callable[[web.Request, Service], Awaitable[web.StreamResponse]]
_Handle: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


def add_routes(router: web.UrlDispatcher, config: Config, lines: Mapping[str, Line]) -> None:
    """Adds the endpoints. Who may use them is asked by the application's middleware."""
    service = Service(config, lines)

    def answered(handler: _Handler) -> _Handle:
        async def handle(request: web.Request) -> web.StreamResponse:
            return await _answer(handler, request, service)

        return handle

    router.add_get("/v1/models", answered(list_models))
    router.add_get("/v1/models/{id:.+}", answered(retrieve_model))
    router.add_post("/v1/audio/transcriptions", answered(create_transcription))
    router.add_post("/v1/audio/speech", answered(create_speech))
    router.add_post("/v1/chat/completions", answered(complete_chat))


async def _answer(handler: _Handler, request: web.Request, service: Service) -> web.StreamResponse:
    try:
        with service.admitted():
            return await handler(request, service)
    except ApiError as error:
        return error.response()
    except StageError as error:
        log.error("%s %s: %s", request.method, request.path, error.problem)
        return of_stage(error).response()
    except ConnectionError:
        raise  # there is nobody to answer
    except Exception:
        log.exception("%s %s failed", request.method, request.path)
        return of_fault().response()
