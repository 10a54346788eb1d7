"""Where a server is, and what the way there takes: the key that it asks for, and why its certificate is trusted."""

import argparse
import ssl
from dataclasses import dataclass, field

import aiohttp
from yarl import URL

from pipeline.errors import ParleyError
from server.cli.door_options import KEY_VARIABLE, checked_key, environment_key
from server.state import own_certificate

DEFAULT_URL = "ws://127.0.0.1:8765/v1/realtime"


@dataclass(frozen=True, slots=True)
class Address:
    """A server to connect to. `tls` is as aiohttp's `ssl`; the key is in `headers`."""

    url: URL
    headers: dict[str, str] = field(default_factory=dict, repr=False)
    tls: "ssl.SSLContext | aiohttp.Fingerprint | bool" = True

    def __str__(self) -> str:
        return str(self.url)


def add_arguments(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """Adds what `address` reads; with `several`, `--url` may be given more than once, and what it names is `urls`."""
    if several:
        parser.add_argument(
            "--url",
            dest="urls",
            action="append",
            metavar="[NAME=]URL",
            help=f"a server, and what to call it; may be given several times (default: {DEFAULT_URL})",
        )
    else:
        parser.add_argument("--url", default=DEFAULT_URL, help="where the server is (default: %(default)s)")
    parser.add_argument("--model", metavar="NAME", help="the pipeline to talk to (default: the server's own)")
    parser.add_argument(
        "--api-key",
        metavar="KEY",
        help=f"the key that the server asks for (default: {KEY_VARIABLE} of the environment)",
    )
    trust = parser.add_mutually_exclusive_group()
    trust.add_argument("--fingerprint", metavar="SHA256", help="trust the certificate (wss://) with this fingerprint")
    trust.add_argument("--insecure", action="store_true", help="trust any certificate: somebody between could listen")


def address(args: argparse.Namespace, url: str | None = None) -> Address:
    """Returns the server that the arguments name; with `url`, the one that it names.

    Raises:
        ParleyError: an argument is not what it should be, or means nothing here.
    """
    where = realtime_url(args.url if url is None else url, args.model)
    if where.scheme != "wss":
        for given, option in ((args.insecure, "--insecure"), (args.fingerprint, "--fingerprint")):
            if given:
                raise ParleyError(f"{option} is about certificates: it goes with a URL that begins with wss://")
    key = environment_key() if args.api_key is None else checked_key(args.api_key, "--api-key")
    headers = {} if key is None else {"Authorization": f"Bearer {key}"}
    return Address(where, headers, _trusted(args) if where.scheme == "wss" else True)


def realtime_url(text: str, model: str | None) -> URL:
    """Returns the URL to connect to. `http` counts as `ws`, and no path means the usual one.

    Raises:
        ParleyError: it is no URL of a server.
    """
    try:
        url = URL(text)
        url = url.with_scheme({"http": "ws", "https": "wss"}.get(url.scheme, url.scheme))
    except ValueError:
        url = URL()
    if url.scheme not in ("ws", "wss") or not url.host:
        raise ParleyError(f"{text!r} is not the URL of a server. It looks like {DEFAULT_URL}")
    if url.path in ("", "/"):
        url = url.with_path("/v1/realtime")
    return url.update_query(model=model) if model else url


def _trusted(args: argparse.Namespace) -> "ssl.SSLContext | aiohttp.Fingerprint | bool":
    if args.insecure:
        return False
    if args.fingerprint is not None:
        try:
            return aiohttp.Fingerprint(bytes.fromhex(args.fingerprint.replace(":", "")))
        except ValueError as error:
            raise ParleyError(
                "--fingerprint is the SHA-256 of a certificate: 32 pairs of hexadecimal digits, as "
                "`parley serve --tls` prints it."
            ) from error
    context = ssl.create_default_context()
    if (own := own_certificate()).is_file():
        try:
            context.load_verify_locations(own)
        except (OSError, ssl.SSLError) as error:
            raise ParleyError(f"{own} is no certificate: {error}. Start the server anew.") from error
    return context
