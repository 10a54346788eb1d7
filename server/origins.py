"""Which web pages may use the server without a key.

A browser lets any page open a WebSocket to this machine, and says in `Origin` where the page comes from. A page can
also bring a name of its own that leads here by DNS (rebinding): then `Origin` and `Host` agree, and both are that name.
So only names count that no stranger can have: addresses, and names that the public DNS does not know.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})

_PRIVATE_ENDINGS = (".localhost", ".local", ".internal", ".home.arpa")
"""Endings of names that are never delegated: RFC 6761, RFC 6762, ICANN's reservation of 2024, RFC 8375."""


def foreign(headers: Mapping[str, str], own: str) -> str | None:
    """Returns the site that a request comes from if it may not; None where it may, or comes from no browser.

    Args:
        headers: those of the request; lookups ignore case.
        own: the server as the client calls it, such as `http://127.0.0.1:8765`.
    """
    origin = headers.get("Origin")
    if origin is None:
        # A page's own GET says no origin. Programs that are no browser may call the server what they like.
        a_browser = headers.get("User-Agent", "").startswith("Mozilla/")
        return own if a_browser and not _is_private(_host(own)) else None
    host = _host(origin)
    if host in _LOCAL or (origin == own and _is_private(host)):
        return None
    return origin


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""


def _is_private(host: str) -> bool:
    """Whether no stranger can make a name lead here: it is an address, has no dot, or has a private ending."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(host) and ("." not in host or host.endswith(_PRIVATE_ENDINGS))
    return True
