"""`parley talk`: a conversation with a running server, by microphone and loudspeaker or by WAV files."""

import argparse
from pathlib import Path

from rich.console import Console

from pipeline.errors import ParleyError
from server.cli import address
from server.cli.view import View

NAME = "talk"
HELP = "talk to a running server, by microphone or by WAV file"

_EPILOG = """\
examples:
  parley talk                                     microphone and loudspeaker; Ctrl-C ends it
  parley talk --headphones                        you can interrupt the reply by speaking
  parley talk --in question.wav --out answer.wav  speaks a file to the server and writes what it answers

  parley talk --url wss://192.168.1.5:8765 --fingerprint 3A:0C:…   a server with TLS elsewhere

A server must be running: `make serve`, or `parley serve`, in another terminal.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog = _EPILOG
    address.add_arguments(parser)
    parser.add_argument("--voice", metavar="NAME", help="the voice that answers")
    parser.add_argument("--instructions", metavar="TEXT", help="what the model is told before the conversation")
    files = parser.add_argument_group("with files")
    files.add_argument("--in", dest="question", type=Path, metavar="WAV", help="what to say, instead of a microphone")
    files.add_argument("--out", dest="answer", type=Path, metavar="WAV", help="where to write what is answered")
    files.add_argument("--fast", action="store_true", help="send the file as fast as possible, not in real time")
    live = parser.add_argument_group("with microphone and loudspeaker")
    live.add_argument(
        "--headphones",
        action="store_true",
        help="listen during the reply too, so that you can interrupt it; on loudspeakers it would hear itself",
    )
    live.add_argument("--push-to-talk", action="store_true", help="Enter begins and ends what you say")


def run(args: argparse.Namespace) -> int:
    _check(args)
    server = address.address(args)
    view = View(Console(highlight=False))
    if args.question is not None:
        from server.cli.talk_file import talk_file

        return talk_file(server, args.question, args.answer, view, fast=args.fast, changes=session_changes(args))
    from server.cli.talk_live import talk_live

    return talk_live(
        server, view, headphones=args.headphones, push_to_talk=args.push_to_talk, changes=session_changes(args)
    )


def session_changes(args: argparse.Namespace) -> dict[str, object]:
    """Returns what the user wants of the session, as a `session.update` says it."""
    changes: dict[str, object] = {}
    if args.instructions is not None:
        changes["instructions"] = args.instructions
    if args.voice is not None:
        changes["audio"] = {"output": {"voice": args.voice}}
    return changes


def _check(args: argparse.Namespace) -> None:
    """Refuses arguments that would mean nothing."""
    if args.question is None:
        for given, option in ((args.answer is not None, "--out"), (args.fast, "--fast")):
            if given:
                raise ParleyError(f"{option} goes with --in. To talk with microphone and loudspeaker, leave it out.")
        return
    for given, option in ((args.headphones, "--headphones"), (args.push_to_talk, "--push-to-talk")):
        if given:
            raise ParleyError(f"{option} is for microphone and loudspeaker; it does not go with --in.")
