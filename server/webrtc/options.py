"""Where calls are reached, as the operator says it."""

import ipaddress
from dataclasses import dataclass

from pipeline.errors import ParleyError


@dataclass(frozen=True, slots=True)
class WebRtcOptions:
    """A UDP port (0: any that is free), and addresses that clients are told besides this machine's own."""

    port: int = 0
    addresses: tuple[str, ...] = ()


def checked_address(text: str) -> str:
    """Returns an IP address that is told to clients.

    Raises:
        ParleyError: it is none.
    """
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise ParleyError(f"--webrtc-address {text}: it is an IP address, such as 192.0.2.7, and no name.") from None
