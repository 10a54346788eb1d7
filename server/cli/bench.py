"""`parley bench`: where the milliseconds of a turn go, on this server or any other that speaks the protocol."""

import argparse
import asyncio
import json
from pathlib import Path

from rich.console import Console

from pipeline.errors import ParleyError
from server.bench.bench import Plan, Server, measure
from server.bench.html import page
from server.bench.questions import BUILT_IN, INTERRUPTIONS, LONG_REPLY, recorded, spoken
from server.bench.report import as_json, tables
from server.cli import address
from server.cli.failure import RunFailedError
from server.cli.wav import check_writable

NAME = "bench"
HELP = "measure where the time of a turn goes, on any server"

_EPILOG = """\
examples:
  parley bench                                         the server on this machine, with spoken questions of its own
  parley bench --in questions/ --rounds 10             with your recordings
  parley bench --url here=ws://127.0.0.1:8765 --url there=ws://127.0.0.1:9000/v1/realtime
                                                       two servers, asked in turn; the second column is a ratio
  parley bench --interrupt                             how long a reply goes on when one speaks over it
  parley bench --sessions 8 --html load.html           eight sessions at once

Questions are sent in real time. The end of speech is found in the recording, and the first audible sample in the
reply: silence at its start is told apart. A Parley server also tells the stages of each turn.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    address.add_arguments(parser, several=True)
    asked = parser.add_argument_group("what is asked")
    asked.add_argument(
        "--in", dest="questions", type=Path, nargs="+", metavar="WAV", help="recordings, or folders of them"
    )
    asked.add_argument("--rounds", type=_count, default=5, help="how often each is asked (default: %(default)s)")
    asked.add_argument("--sessions", type=_count, default=1, help="how many ask at once (default: %(default)s)")
    asked.add_argument(
        "--silence", type=_count, default=500, metavar="MS", help="what silence ends a turn (default: %(default)s)"
    )
    asked.add_argument(
        "--warm-up",
        type=_from_zero,
        default=0,
        metavar="N",
        help="rounds before, which do not count (default: %(default)s)",
    )
    asked.add_argument("--interrupt", action="store_true", help="speak over each reply, and see how long it goes on")
    written = parser.add_argument_group("what is written besides the table")
    written.add_argument("--json", type=Path, metavar="FILE", help="all that was measured")
    written.add_argument("--html", type=Path, metavar="FILE", help="a page with the distributions and the stages")


def run(args: argparse.Namespace) -> int:
    """Measures and reports; 1 if no turn was answered."""
    servers = [_server(text, args) for text in args.urls or [address.DEFAULT_URL]]
    if len({server.label for server in servers}) < len(servers):
        raise ParleyError("Two servers have one name. Name them apart: --url here=URL --url there=URL")
    for file in (args.json, args.html):
        if file is not None:
            check_writable(file)
    console = Console(highlight=False)
    plan = _plan(args)
    with console.status("connecting") as status:
        results = asyncio.run(measure(servers, plan, status.update))
    if not any(result.turns for result in results):
        raise RunFailedError("\n".join(f"{result.server.label}: {result.problem}" for result in results))
    console.print(tables(results, plan))
    if args.json is not None:
        args.json.write_text(json.dumps(as_json(results, plan), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if args.html is not None:
        args.html.write_text(page(results, plan), encoding="utf-8")
    if all(turn.problem is not None for result in results for turn in result.turns):
        raise RunFailedError("No turn was answered; the reasons stand above.")
    return 0


def _plan(args: argparse.Namespace) -> Plan:
    questions = recorded(args.questions) if args.questions else spoken((LONG_REPLY,) if args.interrupt else BUILT_IN)
    interruptions = spoken(INTERRUPTIONS) if args.interrupt else ()
    return Plan(questions, args.rounds, args.sessions, args.silence, interruptions, args.warm_up)


def _server(text: str, args: argparse.Namespace) -> Server:
    name, equals, url = text.partition("=")
    if not equals or "/" in name:  # the sign stands in the URL itself, or nowhere
        found = address.address(args, text)
        return Server(f"{found.url.host}:{found.url.port}", found)
    return Server(name, address.address(args, url))


def _count(text: str) -> int:
    return _whole_number(text, 1)


def _from_zero(text: str) -> int:
    return _whole_number(text, 0)


def _whole_number(text: str, least: int) -> int:
    value = int(text) if text.isascii() and text.isdigit() else -1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return value
