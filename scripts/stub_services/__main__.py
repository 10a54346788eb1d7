"""`python -m scripts.stub_services --port 9301`: `openai` engines with `base_url: http://127.0.0.1:9301/v1` find it."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from server.bench.statistics import summary

from .services import REPLY, TRANSCRIPT, Delays, Served, Services


def main() -> None:
    """Serves until it is told to stop, and then says how exact it was."""
    parser = argparse.ArgumentParser(prog="python -m scripts.stub_services", description=__doc__)
    parser.add_argument("--port", type=int, default=9301, help="0: any free one (default: %(default)s)")
    parser.add_argument("--transcript-ms", type=float, default=80, help="after the upload's end (default: %(default)s)")
    parser.add_argument("--first-token-ms", type=float, default=120, help="(default: %(default)s)")
    parser.add_argument("--words-a-second", type=float, default=60, help="of a reply (default: %(default)s)")
    parser.add_argument("--first-audio-ms", type=float, default=100, help="(default: %(default)s)")
    parser.add_argument("--pace", type=float, default=10, help="speech a second, in seconds (default: %(default)s)")
    parser.add_argument("--transcript", default=TRANSCRIPT, metavar="TEXT", help="what is understood")
    parser.add_argument("--reply", default=REPLY, metavar="TEXT", help="what is answered")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="how often the reply is said in one reply")
    parser.add_argument("--log", type=Path, metavar="FILE", help="a line of JSON for each request (default: stdout)")
    options = parser.parse_args()
    delays = Delays(
        options.transcript_ms / 1000,
        options.first_token_ms / 1000,
        options.words_a_second,
        options.first_audio_ms / 1000,
        options.pace,
    )
    with options.log.open("w") if options.log else sys.stdout as log:
        services = Services(
            delays, lambda line: _write(log, line), options.transcript, " ".join([options.reply] * options.repeat)
        )
        asyncio.run(_serve(services, options.port))
        for line in exactness(services.served):
            print(line)


def _write(log: TextIO, line: dict[str, Any]) -> None:
    print(json.dumps(line), file=log, flush=True)


async def _serve(services: Services, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    runner = web.AppRunner(services.app(), access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    print(f"Stubs listen on http://127.0.0.1:{runner.addresses[0][1]}/v1", flush=True)
    await stopped.wait()
    await runner.cleanup()


def exactness(served: list[Served]) -> list[str]:
    """Returns a line for each service: how late its answers began."""
    late: dict[str, list[float]] = defaultdict(list)
    for each in served:
        if each.first_ms is not None:
            late[each.service].append(each.first_ms - each.wanted_ms)
    lines = []
    for service, values in sorted(late.items()):
        found = summary(values)
        assert found is not None
        told = f"{found.p50:.1f} / {found.p95:.1f} / {found.max:.1f} ms late (p50 / p95 / max)"
        lines.append(f"{service}: {found.count} answers, {told}")
    return lines


if __name__ == "__main__":
    main()
