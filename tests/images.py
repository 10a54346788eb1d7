"""Small images, made here: PNGs that anybody can open, and JPEGs as far as their headers."""

import base64
import struct
import zlib

import numpy as np


def png(width: int = 2, height: int = 1, padding: int = 0) -> bytes:
    """A black PNG; `padding` bytes of a comment make it larger."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * (width + 1) * height)
    comment = [_chunk(b"tEXt", b"note\0" + b"x" * padding)] if padding else []
    return b"".join([b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), *comment, _chunk(b"IDAT", pixels), _chunk(b"IEND")])


def picture(pixels: np.ndarray) -> bytes:
    """A PNG of an array [height, width, 3] of bytes."""
    height, width, _ = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in pixels)
    return b"".join(
        [b"\x89PNG\r\n\x1a\n", _chunk(b"IHDR", header), _chunk(b"IDAT", zlib.compress(lines)), _chunk(b"IEND")]
    )


def _chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def jpeg(width: int = 640, height: int = 480) -> bytes:
    """The head of a JPEG: what stands before its pixels."""
    jfif = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0"
    frame = struct.pack(">HBHHB", 17, 8, height, width, 3) + b"\x01\x22\0\x02\x11\x01\x03\x11\x01"
    return b"\xff\xd8" + jfif + b"\xff\xff\xc2" + frame + b"\xff\xd9"


def url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
