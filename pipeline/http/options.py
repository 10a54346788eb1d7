"""The options that the `openai` engines have in common, and what they come to."""

import ipaddress
import json
import os
import re
import ssl
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta
from multidict import CIMultiDict
from yarl import URL

from pipeline.errors import EngineError
from pipeline.stages import EngineOptions

OPENAI_HOST = "api.openai.com"

_PATHS = ("/chat/completions", "/audio/speech", "/audio/transcriptions", "/models", "/completions")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_OF_THE_BODY = ("content-type", "content-length", "transfer-encoding", "host", "connection")
_KEY = re.compile(r"[\x21-\x7e]+")


class EndpointOptions(EngineOptions, frozen=True, kw_only=True):
    """Which endpoint, and how it is reached. Shown without its secrets."""

    base_url: Annotated[
        str,
        Meta(
            description="Where the endpoint's API begins, such as `http://127.0.0.1:11434/v1`; most end with /v1. A "
            "proxy that the environment names is used, but never to reach this machine."
        ),
    ]
    api_key: Annotated[
        str | None,
        Meta(
            description="Sent as a bearer token; keep it out of the file: `${NAME}` is the environment variable NAME. "
            "Default: none; to https://api.openai.com the variable OPENAI_API_KEY."
        ),
    ] = None
    headers: Annotated[
        dict[str, str], Meta(description="Further headers of each request, such as `{api-key: ${NAME}}`.")
    ] = {}  # noqa: RUF012 - msgspec makes a new one for each
    connect_timeout: Annotated[
        float, Meta(gt=0, description="Seconds for looking up the host, connecting and agreeing on a cipher.")
    ] = 5.0
    ca_file: Annotated[
        str | None,
        Meta(
            description="PEM file of the authorities to trust with https, in place of the system's: for certificates "
            "of your own."
        ),
    ] = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"

    def __rich_repr__(self) -> Iterator[tuple[str, object]]:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if name == "api_key" and value is not None:
                value = "…"
            elif name == "headers":
                value = dict.fromkeys(value, "…")
            yield name, value


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where requests go, and with what. `host` is for people; `secrets` must not be shown to any."""

    base: URL
    host: str
    headers: Mapping[str, str]
    tls: ssl.SSLContext | bool
    proxy: URL | None
    connect_timeout: float
    secrets: tuple[str, ...]

    def url(self, path: str) -> URL:
        """Returns the address of a path under the base; a query of the base stays."""
        return (self.base / path).with_query(self.base.query)


def endpoint_of(options: EndpointOptions) -> Endpoint:
    """Checks the options.

    Raises:
        EngineError: one of them cannot be meant.
    """
    base = _base(options.base_url)
    key = _key(options.api_key, base)
    headers: CIMultiDict[str] = CIMultiDict({"User-Agent": "Parley", "Accept-Encoding": "identity"})
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    for name, value in options.headers.items():
        if not _HEADER_NAME.fullmatch(name) or not _HEADER_VALUE.fullmatch(value):
            raise EngineError(
                f"`{name}` cannot be sent as a header.", "Its name is letters and -, its value one line.", "headers"
            )
        if name.lower() in _OF_THE_BODY:
            raise EngineError(f"`{name}` belongs to what is sent, and is set by Parley.", "Leave it out.", "headers")
        headers[name] = value
    secrets = tuple(secret for secret in (key, *options.headers.values()) if secret and len(secret) >= 6)
    host = base.authority if base.explicit_port is not None else (base.host or "")
    return Endpoint(base, host, headers, _tls(options.ca_file, base), proxy_of(base), options.connect_timeout, secrets)


def check_extra(extra: Mapping[str, Any], fixed: tuple[str, ...], own: Mapping[str, str] | None = None) -> None:
    """Refuses fields of the request that `extra` cannot set: those that Parley decides, and those with an option.

    Raises:
        EngineError: there is such a field, or a value that JSON cannot say.
    """
    try:
        json.dumps(extra)
    except (TypeError, ValueError) as error:
        mend = "Put dates and the like in quotes."
        raise EngineError(f"This cannot be sent as JSON: {error}.", mend, "extra") from error
    for name in extra:
        if name in fixed:
            raise EngineError(f"`{name}` is set by Parley.", "Take it out of `extra`.", "extra")
        if own and name in own:
            raise EngineError(f"`{name}` has an option of its own.", f"Write `{own[name]}: …` instead.", "extra")


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _base(text: str) -> URL:
    mend = "Write it like http://127.0.0.1:11434/v1."
    try:
        url = URL(text.strip())
        port = url.port  # raises if there is no such port
    except ValueError as error:
        raise EngineError(f"`{text}` is not a URL: {error}.", mend, "base_url") from error
    if url.scheme not in ("http", "https") or not url.host or not port:
        raise EngineError(f"`{text}` is not the URL of an HTTP endpoint.", mend, "base_url")
    if url.user is not None or url.password is not None:
        raise EngineError(
            "A URL with a user and a password is shown in too many places.",
            "Take them out, and write the `Authorization` header under `headers`.",
            "base_url",
        )
    path = url.path.rstrip("/")
    if too_far := next((end for end in _PATHS if path.endswith(end)), None):
        raise EngineError(
            f"`{text}` leads to one function of the endpoint.", f"Leave out `{too_far}`: Parley adds it.", "base_url"
        )
    return url.with_fragment(None)


def _key(given: str | None, base: URL) -> str | None:
    """The key to send: a local server never gets what is meant for OpenAI."""
    if given is None:
        if base.scheme != "https" or base.host != OPENAI_HOST:
            return None
        given = os.environ.get("OPENAI_API_KEY")
        if given is None:
            return None
    key = given.strip()
    if not _KEY.fullmatch(key):
        problem = "The key is empty." if not key else "The key has characters in it that no key has."
        raise EngineError(problem, "Leave `api_key` out where the endpoint wants none.", "api_key")
    return key


def _tls(ca_file: str | None, base: URL) -> ssl.SSLContext | bool:
    if ca_file is None:
        return True
    if base.scheme != "https":
        raise EngineError("There is no certificate to check with http.", "Write https in `base_url`.", "ca_file")
    path = Path(ca_file).expanduser()
    try:
        return ssl.create_default_context(cafile=str(path))
    except FileNotFoundError as error:
        raise EngineError(f"There is no file {path}.", "Correct the path.", "ca_file") from error
    except OSError as error:  # ssl.SSLError is one
        problem = f"{path} has no certificates that can be read: {error}."
        raise EngineError(problem, "Give a PEM file with certificates.", "ca_file") from error


def proxy_of(base: URL) -> URL | None:
    """The proxy that the environment names for this host; none for this machine, whatever the environment says."""
    host = base.host or ""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies()
    proxy = named.get(base.scheme) or named.get("all")
    return URL(proxy) if proxy and proxy.startswith(("http://", "https://")) else None
