"""The server's event loop: uvloop, which spends less on a frame; where there is none (Windows), asyncio's own."""

import asyncio
import logging

log = logging.getLogger(__name__)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Returns a new loop, the fastest that this machine has. The log says which; so does `/parley/load`."""
    try:
        import uvloop
    except ImportError:
        log.info("the event loop is asyncio's: there is no uvloop here, which is faster")
        return asyncio.new_event_loop()
    log.info("the event loop is uvloop's")
    return uvloop.new_event_loop()
