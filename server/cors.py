"""What browsers are told of pages that come from elsewhere than this server (CORS).

A page on another port of this machine, such as that of a development server, may begin calls and ask for ephemeral
keys. Whether it really may is decided when it does, by its origin and its key: see `app._guard`. What is said
beforehand, to the browser's question (preflight), opens nothing.
"""

from collections.abc import Collection

from aiohttp import hdrs, web

_MAX_AGE_S = 600


def preflight(request: web.Request, paths: Collection[str]) -> web.Response | None:
    """Returns the answer to a browser's question whether a page may post here; None: it is no such question."""
    asks = request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
    if not asks or not is_open(request, paths):
        return None
    headers = {
        hdrs.ACCESS_CONTROL_ALLOW_METHODS: "POST",
        hdrs.ACCESS_CONTROL_ALLOW_HEADERS: request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, ""),
        hdrs.ACCESS_CONTROL_MAX_AGE: str(_MAX_AGE_S),
    }
    return admit(request, web.Response(status=204, headers=headers))


def is_open(request: web.Request, paths: Collection[str]) -> bool:
    """Whether this is one of the doors that pages of elsewhere may use, and one of them asks."""
    return hdrs.ORIGIN in request.headers and any(
        request.path == path or request.path.startswith(f"{path}/") for path in paths
    )


def admit(request: web.Request, response: web.Response) -> web.Response:
    """Lets the page read the response, and where in it the call is."""
    response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = request.headers[hdrs.ORIGIN]
    response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = hdrs.LOCATION
    response.headers.add(hdrs.VARY, hdrs.ORIGIN)
    return response
