"""Images as clients send them: data URLs of PNG and JPEG files. Nothing is decoded but their size."""

import base64
import binascii
import re
import struct
from typing import Final, Literal

from pipeline.types import Detail, Image

MAX_IMAGE_BYTES = 8 * 1024 * 1024
"""Most bytes of a file: a photo of a phone at its best. Larger ones are scaled down by whoever looks at them anyway."""

_DATA_URL: Final = re.compile(r"data:([^;,]*)((?:;[^;,]*)*),(.*)", re.DOTALL | re.IGNORECASE)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_JPEG: Final = b"\xff\xd8\xff"

_FRAMES: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""JPEG's markers of a frame, in which its size stands: SOF0 to SOF15 (ITU-T T.81, table B.1)."""


def image_of(url: str, detail: Detail = "auto", at: int = 0) -> Image:
    """Returns the image in a data URL such as `data:image/png;base64,iVBORw…`.

    Raises:
        ValueError: it is no data URL in base64, no PNG or JPEG, damaged or too large. Says so in a sentence.
    """
    if not (match := _DATA_URL.fullmatch(url)):
        raise ValueError("An image is a data URL such as `data:image/png;base64,…`: nothing is fetched from elsewhere.")
    said, parameters, text = match[1].strip().lower(), match[2].lower(), match[3]
    if "base64" not in parameters.split(";"):
        raise ValueError("The data URL of an image is in base64: `data:image/png;base64,…`.")
    if len(text) * 3 // 4 > MAX_IMAGE_BYTES + 2:
        raise ValueError(f"The image has more than {MAX_IMAGE_BYTES} bytes: send a smaller one.")
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError(f"The image is not valid base64: {error}.") from None
    media_type = _media_type(data)
    if media_type is None or said not in (media_type, "image/jpg" if media_type == "image/jpeg" else media_type):
        raise ValueError(f"An image is a PNG or a JPEG, and its data URL says which: '{said[:64]}' is not what it is.")
    width, height = _png_size(data) if media_type == "image/png" else _jpeg_size(data)
    return Image(data, media_type, width, height, detail, at)


def data_url(image: Image) -> str:
    """Returns the image as a data URL."""
    return f"data:{image.media_type};base64,{base64.b64encode(image.data).decode()}"


def image_tokens(image: Image) -> int:
    """Returns what an image costs about, in tokens, where the model does not say: OpenAI's published rule for gpt-4o.

    85 at low detail; at high detail, which `auto` comes to, 170 more for each square of 512 pixels of the image, scaled
    down to fit into 2048 by 2048 and then to a shorter side of 768 (OpenAI, "Images and vision", calculating costs).
    """
    if image.detail == "low":
        return 85
    scale = min(1.0, 2048 / max(image.width, image.height))
    scale *= min(1.0, 768 / (min(image.width, image.height) * scale))
    across, down = (-(-round(side * scale) // 512) or 1 for side in (image.width, image.height))
    return 85 + 170 * across * down


def _media_type(data: bytes) -> Literal["image/png", "image/jpeg"] | None:
    if data.startswith(_PNG):
        return "image/png"
    return "image/jpeg" if data.startswith(_JPEG) else None


def _png_size(data: bytes) -> tuple[int, int]:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise ValueError("The PNG is damaged: it does not say its size.")
    width, height = struct.unpack_from(">II", data, 16)
    return _checked(width, height)


def _jpeg_size(data: bytes) -> tuple[int, int]:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # any number of them may stand before a marker
            at += 1
        elif marker in _FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return _checked(width, height)
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            at += 2 + length
    raise ValueError("The JPEG is damaged: it does not say its size.")


def _checked(width: int, height: int) -> tuple[int, int]:
    if not (width > 0 and height > 0):
        raise ValueError("The image has no pixels.")
    return width, height
