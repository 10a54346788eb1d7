"""The options of `parley serve` about who may come in, and how: TLS and the key."""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ParleyError

if TYPE_CHECKING:
    from server.tls import Identity

KEY_VARIABLE = "PARLEY_API_KEY"
"""The environment variable with the server's key, for the server and for `parley talk`."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What the server shows of itself (None: no TLS), and the key that clients have to show (None: none)."""

    identity: "Identity | None"
    key: str | None = field(repr=False)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    tls = parser.add_argument_group("TLS: wss:// and https://")
    tls.add_argument("--tls", action="store_true", help="with a certificate that is made on the spot, and kept")
    tls.add_argument("--cert", type=Path, metavar="FILE", help="with your certificate (PEM), and the chain behind it")
    tls.add_argument("--key", type=Path, metavar="FILE", help="its private key (PEM, not encrypted)")
    keys = parser.add_argument_group(
        "a key", f"Clients then have to show it. It can also stand in the environment variable {KEY_VARIABLE}."
    ).add_mutually_exclusive_group()
    keys.add_argument("--api-key", metavar="KEY", help="the key; other users of this machine can read it here")
    keys.add_argument("--api-key-file", type=Path, metavar="FILE", help="a file with the key alone in it")


def doors(args: argparse.Namespace) -> Doors:
    """Returns what the options say.

    Raises:
        ParleyError: an option cannot be honoured.
    """
    return Doors(_identity(args), _own_key(args))


def _identity(args: argparse.Namespace) -> "Identity | None":
    """Returns what the server shows of itself, or None without TLS.

    Raises:
        ParleyError: the options contradict each other, or a file is not what it should be.
    """
    if args.cert is None and args.key is None and not args.tls:
        return None
    from server import tls  # only now: what it needs takes time to load

    if args.tls and (args.cert or args.key):
        raise ParleyError("--tls makes a certificate; --cert and --key bring one. Leave one or the other out.")
    if args.tls:
        return tls.own_identity(args.host)
    if args.cert is None or args.key is None:
        given, lacking = ("--key", "--cert") if args.cert is None else ("--cert", "--key")
        raise ParleyError(f"{given} goes with {lacking}: name both files.")
    return tls.given_identity(args.cert, args.key)


def _own_key(args: argparse.Namespace) -> str | None:
    """Returns the key that clients have to show, or None where anybody may come.

    Raises:
        ParleyError: it is no key, or its file cannot be read. The message does not tell the key.
    """
    if args.api_key is not None:
        return checked_key(args.api_key, "--api-key")
    if args.api_key_file is not None:
        try:
            text = args.api_key_file.read_text(encoding="utf-8")
        except (OSError, UnicodeError) as error:
            why = getattr(error, "strerror", None) or "it is no text"
            raise ParleyError(f"--api-key-file {args.api_key_file} cannot be read: {why}.") from error
        return checked_key(text.strip(), f"--api-key-file {args.api_key_file}")
    return environment_key()


def environment_key() -> str | None:
    """Returns the key in the environment, if there is one."""
    key = os.environ.get(KEY_VARIABLE)
    return checked_key(key, KEY_VARIABLE) if key else None


def checked_key(key: str, source: str) -> str:
    """Returns the key, if it is one that every client can send."""
    if not key:
        raise ParleyError(f"The key in {source} is empty. Without a key, leave it out.")
    if not all("!" <= letter <= "~" for letter in key) or "," in key:
        raise ParleyError(f"The key in {source} has characters that no header carries: use letters, digits, - and _.")
    return key
