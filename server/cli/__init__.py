"""`parley`, the command. One verb is one module of this package:

    NAME: str                            the verb
    HELP: str                            what it does, in one line
    add_arguments(parser) -> None        its arguments
    run(args) -> int                     does it and returns the exit code

VERBS lists them once more, because only the chosen verb's module is imported: `parley --help` is there at once.

Exit codes: 0 it worked; 1 it was tried and did not work out; 2 the command or models.yaml is wrong; 130 Ctrl-C.
(Verbs that run until Ctrl-C, such as `serve`, end with 0.)
"""

import argparse
import contextlib
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from pipeline.errors import ParleyError
from server.cli.failure import RunFailedError

VERBS: Final[Mapping[str, str]] = {
    "serve": "load the models and answer on this machine",
    "talk": "talk to a running server, by microphone or by WAV file",
    "say": "try speech synthesis alone, without a server",
    "listen": "try transcription alone, without a server",
    "bench": "measure where the time of a turn goes, on any server",
}
"""The verbs, and what each does in one line."""

_DESCRIPTION = """\
Parley is a voice assistant that runs on this machine: it hears you, thinks of a reply and says it.
Nothing leaves the machine. Other programs can use it through the OpenAI Realtime protocol.
"""

_EXAMPLES = """\
first steps:
  parley serve                                        start the server, and leave it running
  parley talk                                         in another terminal: talk to it
  parley talk --in question.wav --out answer.wav      the same with files, and with timings
  parley say "Good morning." --out hello.wav          try the voice alone
  parley listen question.wav                          try the transcription alone
  parley bench                                        where the milliseconds of a turn go

`parley VERB --help` tells more about each. models.yaml says which models are used.
"""

INTERRUPTED = 130
"""What a shell says of a program that SIGINT ended: 128 + 2."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code."""
    try:
        try:
            return _run(sys.argv[1:] if argv is None else argv)
        finally:
            sys.stdout.flush()
    except RunFailedError as error:
        return _complain(error, 1)
    except ParleyError as error:
        return _complain(error, 2)
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (`| head`). What is still buffered must not complain at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _run(argv: Sequence[str]) -> int:
    verb = next((word for word in argv if not word.startswith("-")), None)
    parser = _parser(verb)
    args = parser.parse_args(argv)
    if args.verb is None:
        parser.print_help()
        return 2
    code: int = importlib.import_module(f"server.cli.{args.verb}").run(args)
    return code


def _parser(chosen: str | None) -> argparse.ArgumentParser:
    """Returns the parser of all verbs, with the arguments of the chosen one only."""
    parser = argparse.ArgumentParser(
        prog="parley",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"parley {_version()}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="verbs")
    for name, what in VERBS.items():
        described = f"{what[0].upper()}{what[1:]}."
        verb = verbs.add_parser(
            name, help=what, description=described, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        if name == chosen:
            importlib.import_module(f"server.cli.{name}").add_arguments(verb)
    return parser


def _version() -> str:
    with contextlib.suppress(PackageNotFoundError):
        return version("parley")
    return "(not installed)"


def _complain(error: ParleyError, code: int) -> int:
    print(f"parley: {error}", file=sys.stderr)
    return code
