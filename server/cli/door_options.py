"""The options of `parley serve` about who may come in, and how: TLS, the key, and where calls are reached."""

import argparse
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.errors import ParleyError
from server.webrtc.options import WebRtcOptions, checked_address

if TYPE_CHECKING:
    from server.tls import Identity

KEY_VARIABLE = "PARLEY_API_KEY"
"""The environment variable with the server's key, for the server and for `parley talk`."""


@dataclass(frozen=True, slots=True)
class Doors:
    """What the server shows of itself (None: no TLS), the key that clients have to show (None: none), and where their
    calls come in.
    """

    identity: "Identity | None"
    key: str | None = field(repr=False)
    webrtc: WebRtcOptions = field(default_factory=WebRtcOptions)


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
    webrtc = parser.add_argument_group(
        "WebRTC", "Sound comes over UDP, to an address of this machine. From a container, or behind a NAT, say which."
    )
    webrtc.add_argument(
        "--webrtc-port", type=port, default=0, metavar="PORT", help="the UDP port of all calls (default: any free one)"
    )
    webrtc.add_argument(
        "--webrtc-address",
        action="append",
        default=[],
        metavar="IP",
        help="an address by which clients reach that port, besides this machine's own; may be given again",
    )


def doors(args: argparse.Namespace) -> Doors:
    """Returns what the options say.

    Raises:
        ParleyError: an option cannot be honoured.
    """
    webrtc = WebRtcOptions(args.webrtc_port, tuple(map(checked_address, args.webrtc_address)))
    return Doors(_identity(args), _own_key(args), webrtc)


def port(text: str) -> int:
    """Returns a port: what argparse takes for one."""
    if not (text.isdecimal() and int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"'{text}' is no port: it is a number from 0 (any free one) to 65535")
    return int(text)


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
