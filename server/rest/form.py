"""A multipart form: its file, and its other fields as text."""

import contextlib
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import BinaryIO, cast

from aiohttp import BodyPartReader, web
from aiohttp.http import HttpProcessingError

from server.rest.errors import ApiError, refused

MAX_FILE = 128 * 1024 * 1024
"""Most bytes of a file: OpenAI takes 25 MiB, and an hour of a phone's uncompressed WAV is 115."""

_IN_MEMORY = 1024 * 1024
"""Bytes of a file above which it is kept on disk."""

_MAX_FIELD = 64 * 1024
_MAX_FIELDS = 64
_CHUNK = 64 * 1024


@dataclass
class Form:
    """What was sent. A field that is given several times has several values, in order; `[]` at the end of its name,
    which says that it may be, is left out.
    """

    file: BinaryIO | None = None
    fields: dict[str, list[str]] = field(default_factory=dict)


@contextlib.asynccontextmanager
async def read_form(request: web.Request) -> AsyncIterator[Form]:
    """Reads a form whose file is the field `file`; it is gone when the context ends.

    Raises:
        ApiError: it is none, or too large.
    """
    if request.content_type != "multipart/form-data":
        problem = f"This has to be a form (multipart/form-data) with a file in it, not {request.content_type}."
        raise ApiError(415, "unsupported_content_type", problem)
    with contextlib.ExitStack() as files:
        form = Form()
        try:
            async for part in await request.multipart():
                if not isinstance(part, BodyPartReader) or not part.name:
                    raise refused("invalid_form", "A part of the form is no field.")
                if part.name == "file":
                    if form.file is not None:
                        raise refused("invalid_value", "There is more than one `file`.", "file")
                    form.file = files.enter_context(_new_file())
                    await _store(part, form.file)
                else:
                    name = part.name.removesuffix("[]")
                    form.fields.setdefault(name, []).append(await _text(part, name))
                    if sum(map(len, form.fields.values())) > _MAX_FIELDS:
                        raise refused("invalid_form", f"The form has more than {_MAX_FIELDS} fields.")
        except (
            ValueError,
            AssertionError,
            RuntimeError,
            HttpProcessingError,
        ) as error:  # what aiohttp raises for one that is damaged
            raise refused("invalid_form", "The form is damaged and cannot be read.") from error
        yield form


def _new_file() -> BinaryIO:
    return cast(BinaryIO, tempfile.SpooledTemporaryFile(_IN_MEMORY))


async def _store(part: BodyPartReader, file: BinaryIO) -> None:
    while piece := await part.read_chunk(_CHUNK):
        file.write(piece)
        if file.tell() > MAX_FILE:
            raise ApiError(413, "file_too_large", f"The file is larger than {MAX_FILE // 2**20} MiB.", "file")
    file.seek(0)


async def _text(part: BodyPartReader, name: str) -> str:
    data = bytearray()
    while piece := await part.read_chunk(_CHUNK):
        data += piece
        if len(data) > _MAX_FIELD:
            raise refused("invalid_value", f"The field is longer than {_MAX_FIELD // 1024} KiB.", name)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise refused("invalid_value", "The field is not UTF-8.", name) from error
