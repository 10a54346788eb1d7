"""Measures what listening costs: `python -m scripts.measure_listening --sessions 64 256`.

It starts a server on one core and, on the others, as many clients as it is told, which send frames in real time: most
a quiet room, some (`--speaking`) sentences with pauses. No response is asked for. It prints what the server says of
itself (`GET /parley/load`), and what the system says of its memory. Linux.
"""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from pipeline.types import Pcm16
from scripts.measure_listening.spoken import SENTENCES, room, spoken
from scripts.measure_listening.streams import Client, Streams, append_frames
from server.bench.memory import resident_mb

_PAUSE_S: Final = 3.0
_SERVE: Final = "import sys; from server.cli import main; sys.exit(main())"
_SETTLE_S: Final = 2.0


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts.measure_listening", description=__doc__)
    parser.add_argument("--sessions", type=int, nargs="+", default=[256], help="how many; several are tried in turn")
    parser.add_argument("--speaking", type=int, default=0, help="how many of them speak, a sentence every few seconds")
    parser.add_argument("--frame-ms", type=int, default=20, help="sound in a frame, in ms (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=20.0, help="how long to watch (default: %(default)s)")
    parser.add_argument("--core", type=int, default=0, help="the core that the server runs on (default: %(default)s)")
    parser.add_argument("--config", type=Path, help="models.yaml to use")
    arguments = parser.parse_args()
    talk = append_frames(_spoken(), arguments.frame_ms) if arguments.speaking else []
    silent = append_frames(room(2.0, 1), arguments.frame_ms)
    print("| sessions | CPU of a core | ms of it a second and session | loop lag ms p50 / p99 / max | ", end="")
    print(
        "verdict ms p50 / p99 / max | wake-ups /s | threads | MB | kB a session, open / listening | rig late ms p99 |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for count in arguments.sessions:
        streams = [talk if index < arguments.speaking else silent for index in range(count)]
        with _server(arguments.core, arguments.config) as (process, port):
            print(_row(process, port, streams, arguments.frame_ms, arguments.seconds), flush=True)


def _row(process: int, port: int, streams: list[list[bytes]], frame_ms: int, seconds: float) -> str:
    for _ in range(8):  # what is only made for the first sessions is no session's
        Client(port, streams[0]).close()
    _load(port, _SETTLE_S)
    before = resident_mb(process)
    clients = [Client(port, frames, 7 * index % len(frames)) for index, frames in enumerate(streams)]
    opened = resident_mb(process)
    rig = Streams(clients, frame_ms)
    sending = threading.Thread(target=rig.run, daemon=True)
    sending.start()
    try:
        _load(port, _SETTLE_S)
        rig.late_ms.clear()
        woken = _switches(process)
        load = _load(port, seconds)
        woken = _switches(process) - woken
        after = resident_mb(process)
    finally:
        rig.stopped = True
        sending.join()
        for client in clients:
            client.close()
    each = " / ".join(
        "?" if before is None or now is None else f"{1000 * (now - before) / len(clients):.0f}"
        for now in (opened, after)
    )
    return (
        f"| {len(clients)} | {100 * load['cpu']:.0f} % | {1000 * load['cpu'] / len(clients):.2f} | "
        f"{_spread(load['loop_lag_ms'])} | {_spread(load['verdict_delay_ms'])} | {woken / load['seconds']:.0f} | "
        f"{load['threads']} | {after} | {each} | {np.percentile(rig.late_ms, 99):.1f} |"
    )


def _spread(spread: dict[str, float] | None) -> str:
    return "-" if spread is None else f"{spread['p50']:.1f} / {spread['p99']:.1f} / {spread['max']:.1f}"


def _load(port: int, seconds: float) -> dict[str, Any]:
    url = f"http://127.0.0.1:{port}/parley/load?seconds={seconds:g}"
    with urllib.request.urlopen(url, timeout=seconds + 60) as answer:
        return msgspec.json.decode(answer.read(), type=dict[str, Any])


def _switches(process: int) -> int:
    """Returns how often the threads of a process have been woken so far. Linux."""
    total = 0
    for status in Path(f"/proc/{process}/task").glob("*/status"):
        with contextlib.suppress(OSError):  # it has ended
            found = re.search(r"^voluntary_ctxt_switches:\s*(\d+)", status.read_text(), re.MULTILINE)
            total += int(found.group(1)) if found else 0
    return total


def _spoken() -> Pcm16:
    return np.concatenate(
        [part for number in range(len(SENTENCES)) for part in (spoken(number), room(_PAUSE_S, number))]
    )


@contextlib.contextmanager
def _server(core: int, config: Path | None) -> Iterator[tuple[int, int]]:
    """Starts a server, and moves it to one core and this process to the others. Yields its process id and port.

    What it has started by then, such as the host of PocketSphinx's decoders, runs where it likes.
    """
    cores = os.sched_getaffinity(0)
    command = [sys.executable, "-c", _SERVE, "serve", "--port", "0"]
    if config is not None:
        command += ["--config", str(config)]
    try:
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert server.stdout is not None
        port = next((int(found[1]) for line in server.stdout if (found := re.search(r"listens on \S+:(\d+)", line))), 0)
        if not port:
            sys.exit("The server did not start.")
        for thread in Path(f"/proc/{server.pid}/task").iterdir():
            os.sched_setaffinity(int(thread.name), {core})
        os.sched_setaffinity(0, cores - {core} or cores)
        yield server.pid, port
    finally:
        os.sched_setaffinity(0, cores)
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
