"""`parley serve`: loads the pipelines and answers on localhost."""

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path

from aiohttp import web

from pipeline.config import Config, find_config, load_config
from pipeline.errors import ParleyError
from pipeline.line import Line, load_lines
from server.app import Server
from server.auth import Keys
from server.cli import browser, door_options
from server.cli.door_options import KEY_VARIABLE, Doors
from server.cli.load_progress import LoadProgress, ProgressHandler
from server.event_loop import new_event_loop
from server.profile import check_voices
from server.traces import Traces

NAME = "serve"
HELP = "load the models and answer on this machine"

SWITCH_S = 0.001
"""How long another thread may keep Python's lock from the event loop; Python's own 5 ms add up to what one hears."""

SHUTDOWN_S = 3.0
"""How long open connections may take to say goodbye when the server ends."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument(
        "--port", type=door_options.port, default=8765, metavar="PORT", help="port to listen on (default: %(default)s)"
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help="models.yaml to use (default: ./models.yaml)")
    parser.add_argument(
        "--model",
        action="append",
        default=[],
        metavar="NAME",
        help="a pipeline of models.yaml to load besides the default; may be given again",
    )
    parser.add_argument("--open", action="store_true", help="open the console, a page to talk to it, in the browser")
    door_options.add_arguments(parser)
    parser.add_argument(
        "--traces", type=Path, metavar="DIR", help="write down there what sessions that ask for `tracing` say"
    )
    parser.add_argument("--log-level", default="warning", choices=["debug", "info", "warning", "error"])


def run(args: argparse.Namespace) -> int:
    progress = LoadProgress(sys.stdout)
    logging.basicConfig(
        level=args.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        handlers=[ProgressHandler(sys.stderr, progress)],
    )
    sys.setswitchinterval(SWITCH_S)
    file = args.config or find_config()
    config = load_config(file)
    names = list(dict.fromkeys([config.default, *map(config.resolve, args.model)]))
    doors = door_options.doors(args)
    traces = None if args.traces is None else Traces(args.traces)
    _say(f"Loading {', '.join(names)} from {file}")
    with _bind(args.host, args.port) as listener:  # before the loading: a taken port is known at once
        try:
            lines = load_lines(config, names, progress.report)
        finally:
            progress.end_line()
        try:
            check_voices(lines, config)
            # What is loaded stays. To look through all of it for garbage again would stop everybody for 0.1 s.
            gc.collect()
            gc.freeze()
            with asyncio.Runner(loop_factory=new_event_loop) as runner:
                return runner.run(
                    _serve(listener, args.host, config, lines, doors=doors, traces=traces, opens=args.open)
                )
        finally:
            if traces is not None:
                traces.close()
            for line in lines.values():
                line.close()


def _bind(host: str, port: int) -> socket.socket:
    """Returns a socket bound to the address, not listening yet.

    Raises:
        ParleyError: the address cannot be had.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        mend = "Is another Parley running? Choose another port with --port." if taken else "Choose another --host."
        raise ParleyError(f"Cannot listen on {host}:{port}: {error.strerror or error}. {mend}") from error
    return listener


async def _serve(
    listener: socket.socket,
    host: str,
    config: Config,
    lines: Mapping[str, Line],
    *,
    doors: Doors,
    traces: Traces | None,
    opens: bool,
) -> int:
    stopped = _stop_signal()
    server = Server(config, lines, Keys(doors.key), traces, doors.webrtc)
    # Whoever goes needs no answer: the handler of a request whose client is gone is cancelled.
    runner = web.AppRunner(server.app(), access_log=None, shutdown_timeout=SHUTDOWN_S, handler_cancellation=True)
    try:
        await runner.setup()
        context = doors.identity.context if doors.identity is not None else None
        await web.SockSite(runner, listener, ssl_context=context).start()
        port = listener.getsockname()[1]
        _greet(host, port, lines, doors)
        if opens and not await browser.open_page(console := console_url(host, port, doors)):
            _say(f"There is no browser here to open. Open {console} in one yourself.")
        await stopped.wait()
        _say("Stopping.")
    finally:
        await runner.cleanup()
        server.close()
    return 0


def _stop_signal() -> asyncio.Event:
    """Returns what Ctrl-C and SIGTERM set from now on."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for signum in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(signum, stopped.set)
    return stopped


def _greet(host: str, port: int, lines: Mapping[str, Line], doors: Doors) -> None:
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if doors.key is None and host not in ("127.0.0.1", "::1", "localhost"):
        _say(
            "Careful: whoever reaches this address can use the server; it asks nobody for a key. "
            "With --api-key it does."
        )
    ws, http = ("ws", "http") if doors.identity is None else ("wss", "https")
    key = '"local"' if doors.key is None else f'os.environ["{KEY_VARIABLE}"]'
    _say(
        f"""
Parley listens on {address}

  in a browser       {console_url(host, port, doors)}
  talk to it         parley talk --url {ws}://{address}/v1/realtime
  openai (Python)    AsyncOpenAI(base_url="{http}://{address}/v1", api_key={key})
  anything else      {ws}://{address}/v1/realtime?model={next(iter(lines))}
{_trust(doors)}
Ctrl-C stops it."""
    )


def console_url(host: str, port: int, doors: Doors) -> str:
    """Returns where a browser of this machine finds the page: an address of all interfaces is none to go to."""
    name = "localhost" if host in ("0.0.0.0", "::", "") else f"[{host}]" if ":" in host else host
    return f"{'http' if doors.identity is None else 'https'}://{name}:{port}/"


def _trust(doors: Doors) -> str:
    """Returns what clients need to know of the certificate."""
    if doors.identity is None:
        return ""
    lines = f"  fingerprint        {doors.identity.fingerprint}\n"
    if (certificate := doors.identity.certificate) is not None:
        lines += f"""  to trust it        Python: SSL_CERT_FILE={certificate}
                     Node:   NODE_EXTRA_CA_CERTS={certificate}
"""
    return lines


def _say(line: str) -> None:
    print(line, flush=True)
