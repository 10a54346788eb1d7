"""What an endpoint says when it refuses or breaks off, in the form in which a turn fails."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from pipeline.errors import StageError
from pipeline.http.options import Endpoint

_LONGEST_MESSAGE = 400
_LONGEST_NAME = 100

_CONTEXT_EXCEEDED = re.compile(r"maximum context length|exceeds? the available context", re.IGNORECASE)
"""How vLLM and llama-server say what OpenAI calls `context_length_exceeded`."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """An error object of an endpoint. `raw` is all that it sent, for who looks for a word in it."""

    message: str
    code: str | None = None
    kind: str = "server_error"
    raw: str = ""


class HttpError(StageError):
    """The endpoint answered with a status that is not 2xx."""

    def __init__(self, stage: str, problem: str, status: int, refusal: Refusal) -> None:
        super().__init__(stage, problem, code=refusal.code, kind=refusal.kind)
        self.status = status
        self.refusal = refusal


class NetworkError(StageError):
    """There was no connection, or it broke."""


class Failures:
    """Makes the errors of one engine. None of them shows a secret of the endpoint."""

    def __init__(self, stage: str, endpoint: Endpoint) -> None:
        self._stage = stage
        self._endpoint = endpoint

    def of_status(self, status: int, reason: str | None, body: bytes, location: str | None = None) -> HttpError:
        """Returns what to raise for a response with a status other than 2xx."""
        refusal = read_refusal(body)
        said = f"{status} {reason or ''}".strip()
        if location is not None:
            mend = f"It leads to {location}: write that, up to where the API begins (/v1), into `base_url`."
        else:
            mend = self._mend(status)
        message = f": {self._shown(refusal.message)}" if refusal.message else ""
        text = _sentence(f"{self._endpoint.host} answered {said}{message}") + (f" {mend}" if mend else "")
        return HttpError(self._stage, self._hide(text), status, refusal)

    def of_message(self, value: object) -> StageError:
        """Returns what to raise for an error object that came with status 200."""
        refusal = refusal_of(value)
        message = self._shown(refusal.message) or "it does not say which"
        text = _sentence(f"{self._endpoint.host} reported an error: {message}")
        return StageError(self._stage, text, code=refusal.code, kind=refusal.kind)

    def of_reply(self, problem: str, code: str | None = None) -> StageError:
        """Returns what to raise for a reply that is not what was asked for. `problem` goes on after the host's name."""
        return StageError(self._stage, self._hide(_sentence(f"{self._endpoint.host} {problem}")), code=code)

    def of_network(self, error: Exception) -> NetworkError:
        """Returns what to raise for an error of aiohttp."""
        return NetworkError(self._stage, self._hide(_sentence(self._network(error))))

    def _hide(self, text: str) -> str:
        for secret in self._endpoint.secrets:
            text = text.replace(secret, "…")
        return text

    def excerpt(self, text: str) -> str:
        """Returns the beginning of what the endpoint sent, in quotes, to be shown."""
        return repr(self._shown(text, 80))

    def _shown(self, text: str, most: int = _LONGEST_MESSAGE) -> str:
        line = " ".join(self._hide(text).split())  # hidden first: half a secret would not be found
        return line if len(line) <= most else f"{line[:most]}…"

    def _network(self, error: Exception) -> str:
        host, block, why = self._endpoint.host, f"the {self._stage} in models.yaml", _reason(error)
        limit = f"{self._endpoint.connect_timeout:g} s"
        # Special ones first: the later are their bases.
        kinds: tuple[tuple[type[Exception], str], ...] = (
            (aiohttp.ClientConnectorDNSError, f"The host {host} is not known (`base_url` of {block})"),
            (aiohttp.ClientSSLError, f"The secure connection to {host} failed: {why} (`ca_file` of {block})"),
            (aiohttp.ClientProxyConnectionError, f"The proxy that the environment names cannot be reached: {why}"),
            (aiohttp.ClientConnectorError, f"{host} cannot be reached: {why} (`base_url` of {block})"),
            (aiohttp.ServerTimeoutError, f"{host} took no connection within {limit} (`connect_timeout` of {block})"),
            (aiohttp.ServerDisconnectedError, f"{host} closed the connection before it answered"),
            (aiohttp.ClientPayloadError, f"{host} broke off in the middle of its reply"),
            (aiohttp.ClientResponseError, f"{host} does not answer in HTTP: {why}"),
            (aiohttp.ClientOSError, f"The connection to {host} broke: {why}"),
        )
        otherwise = f"The request to {host} failed: {type(error).__name__}: {why}"
        return next((text for kind, text in kinds if isinstance(error, kind)), otherwise)

    def _mend(self, status: int) -> str:
        block = f"the {self._stage} in models.yaml"
        if status in (401, 403):
            return f"Check `api_key` of {block}."
        if status == 404:
            slip = "" if "/v1" in self._endpoint.base.path else "; most end with /v1"
            return f"Check `model` and `base_url` of {block}{slip}."
        if status == 429:
            return "It takes no more requests for now: wait a while, or ask it less."
        if status >= 500:
            return "Its log may say why."
        return ""


def read_refusal(body: bytes) -> Refusal:
    """Reads the body of an error, whatever its shape: an error object, or any text."""
    text = body.decode("utf-8", "replace")
    try:
        refusal = refusal_of(json.loads(text))
    except (ValueError, RecursionError):
        refusal = Refusal(_without_markup(text))
    return Refusal(refusal.message, refusal.code, refusal.kind, text)


def refusal_of(value: object) -> Refusal:
    """Reads an error object: OpenAI's `{"error": {…}}` or what is inside it, `{"error": "text"}`, FastAPI's
    `{"detail": …}`, `{"message": …}`, or anything.
    """
    if isinstance(value, list) and value:
        value = value[0]  # Google's shape
    if isinstance(value, Mapping):
        for key in ("error", "detail"):
            if isinstance(inner := value.get(key), Mapping):
                return refusal_of(inner)
        message = next((value[key] for key in ("message", "error", "detail", "msg") if value.get(key)), value)
        text = _details(message)
        code = _name(value.get("code"))
        kind = _name(value.get("type"))
        if code is None and (kind == "exceed_context_size_error" or _CONTEXT_EXCEEDED.search(text)):
            code = "context_length_exceeded"
        return Refusal(text, code, kind or "server_error")
    return Refusal(_details(value) if value else "")


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _details(value: object) -> str:
    """Text of a message; of FastAPI's list of complaints `body.model: Field required; …`."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "; ".join(_details(item) for item in value[:5])
    if isinstance(value, Mapping) and "msg" in value:
        place = value.get("loc")
        where = ".".join(map(str, place)) + ": " if isinstance(place, list | tuple) else ""
        return f"{where}{value['msg']}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _name(value: Any) -> str | None:
    """A code or type of an error, if it is one: some say the HTTP status instead."""
    if not isinstance(value, str) or not value or len(value) > _LONGEST_NAME or value.isdecimal():
        return None
    return value if value.isprintable() else None


def _without_markup(text: str) -> str:
    """An error page as text: its title, or all of it without tags."""
    if title := re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL):
        return title[1]
    return re.sub(r"<[^>]*>", " ", text)


def _reason(error: Exception) -> str:
    inner: object = getattr(error, "os_error", None) or getattr(error, "certificate_error", None) or error
    said = getattr(inner, "strerror", None) or getattr(inner, "message", None) or str(inner) or type(error).__name__
    return " ".join(str(said).split())[:_LONGEST_MESSAGE].rstrip(".")
