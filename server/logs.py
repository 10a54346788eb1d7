"""What the libraries below would write into the log, and must not: aiohttp quotes headers that it cannot use, and a key
may be in them; the MCP client tells of URLs, in which there may be one, and of what tools are called with.
"""

import logging

from aiohttp.http_exceptions import HttpProcessingError


def keep_keys_out() -> None:
    """Has aiohttp say no more of a malformed request than that there was one, and the MCP client nothing: what goes
    wrong there is told by whoever uses it.
    """
    for name in ("mcp", "client", "httpx2", "httpcore2"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    # It warns of subprotocols that it does not know, in full; browsers put their key there.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
    logging.getLogger("aiohttp.server").addFilter(_without_the_request)


def _without_the_request(record: logging.LogRecord) -> bool:
    if record.exc_info and isinstance(record.exc_info[1], HttpProcessingError):
        record.exc_info = None
    return True
