"""The console: the page at `/`, and its scripts and styles under `/console/`. Static files, served from memory.

They hold no secret and are shown to everybody; what they then ask of the server passes through the guarded doors.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aiohttp import web

FOLDER: Final = Path(__file__).parent / "console"

_UNDER: Final = "/console/"
_START: Final = "index.html"

_TYPES: Final = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}

_POLICY: Final = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
"""Nothing from elsewhere, nothing written into the page itself, and no page around it."""

_HEADERS: Final = {
    "Cache-Control": "no-cache",  # kept, and asked for again: a new version of Parley shows at once
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    content_type: str
    etag: str


class Page:
    """The files, read once."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self._files = {file.name: _read(file) for file in sorted(folder.iterdir()) if file.suffix in _TYPES}

    def answer(self, request: web.Request) -> web.Response | None:
        """Returns a file of the page, or None where something else was asked for."""
        if request.method not in ("GET", "HEAD"):
            return None
        if request.path == "/":
            # Whoever wants no page, such as curl, is told in plain words where they are.
            name = _START if "text/html" in request.headers.get("Accept", "") else ""
        elif request.path.startswith(_UNDER):
            name = request.path.removeprefix(_UNDER)
        else:
            return None
        file = self._files.get(name)
        return None if file is None else _response(file, request)


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _TYPES[path.suffix], hashlib.sha256(body).hexdigest()[:32])


def _response(file: _File, request: web.Request) -> web.Response:
    known = request.if_none_match or ()
    if any(tag.value in (file.etag, "*") for tag in known):
        response = web.Response(status=304, headers=_HEADERS)
    else:
        response = web.Response(body=file.body, content_type=file.content_type, charset="utf-8", headers=_HEADERS)
    response.etag = file.etag
    return response
