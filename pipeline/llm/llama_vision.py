"""What a model sees: images → rows of embeddings, made by the projector that belongs to it (llama.cpp's libmtmd)."""

import ctypes
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

import llama_cpp as c
import numpy as np
from llama_cpp import mtmd_cpp as m
from llama_cpp._ggml import libggml
from numpy.typing import NDArray

from pipeline.errors import EngineError, StageError
from pipeline.llm.llama_files import locate
from pipeline.llm.llama_native import MAX_ROWS, Model, NativeError, errors_heard, on_log
from pipeline.llm.llama_rows import Picture, Pictures, is_row, row_token
from pipeline.types import Image, Message

LOW_DETAIL = 512
"""Most pixels of a side at `detail: low`, as OpenAI scales it (OpenAI, "Images and vision")."""

MAX_PIXELS = 50_000_000
"""More than any camera of a phone makes by default. A small file can spell out more than memory holds."""

KEPT_BYTES = 256 * 1024 * 1024
"""Most bytes of embeddings that are kept: some hundred images of 256 rows for a model of 2048 dimensions, more than the
sequences hold at once.
"""

_UNFIT = "hint: you may be using wrong mmproj"


class Vision:
    """A projector. Images are seen one at a time, on the thread that asks: the model goes on with others meanwhile."""

    def __init__(self, path: Path, model: Model, *, threads: int) -> None:
        """Loads the projector that belongs to `model`.

        Raises:
            NativeError: it cannot be loaded, does not belong to this model, or sees no images.
        """
        _check_whole(path)
        params = m.mtmd_context_params_default()
        params.use_gpu, params.n_threads, params.print_timings = model.on_gpu, threads, False
        m.mtmd_log_set(on_log, ctypes.c_void_p(0))
        m.mtmd_helper_log_set(on_log, ctypes.c_void_p(0))
        with errors_heard() as errors:
            self._handle = m.mtmd_init_from_file(str(path).encode(), model.handle, params)
        if not self._handle:
            raise NativeError(_reason(errors))
        self._width: int = c.llama_model_n_embd_inp(model.handle)
        self._seeing = threading.Lock()
        self._cache = threading.Lock()
        self._kept: OrderedDict[int, Picture] = OrderedDict()
        self._ahead = ThreadPoolExecutor(1, thread_name_prefix="parley-vision")
        try:
            if not m.mtmd_support_vision(self._handle):
                raise NativeError("it is for sound, not for images")
            self.most_rows = self._try_out()
        except BaseException:
            self.close()
            raise

    def see(self, image: Image) -> Picture:
        """Returns what the model sees of an image: at once for one that was seen lately.

        Raises:
            StageError: the image is damaged or too large, or the projector failed.
        """
        number = _number(image)
        if (known := self._known(number)) is not None:
            return known
        with self._seeing:
            if (known := self._known(number)) is not None:
                return known  # somebody else has seen it meanwhile
            if not self._handle:
                raise StageError("llm", "The language model has been shut down.")
            picture = self._see(image, number)
        self._keep(picture)
        return picture

    def close(self) -> None:
        """Frees the weights, after the image that is being seen."""
        self._ahead.shutdown(cancel_futures=True)
        with self._seeing:
            if self._handle:
                m.mtmd_free(self._handle)
            self._handle = None

    def seen(self, image: Image) -> Picture | None:
        """Returns what the model has seen of an image lately; None: it has not, and begins to, on another thread."""
        known = self._known(_number(image))
        if known is None:
            with suppress(RuntimeError):  # it has been closed
                self._ahead.submit(self.see, image)
        return known

    def _known(self, number: int) -> Picture | None:
        with self._cache:
            if number in self._kept:
                self._kept.move_to_end(number)
            return self._kept.get(number)

    def _keep(self, picture: Picture) -> None:
        with self._cache:
            self._kept[picture.number] = picture
            total = sum(each.embeddings.nbytes for each in self._kept.values())
            while total > KEPT_BYTES and len(self._kept) > 1:
                total -= self._kept.popitem(last=False)[1].embeddings.nbytes

    def _see(self, image: Image, number: int) -> Picture:
        with self._bitmap(image) as bitmap, self._chunks(bitmap) as chunks:
            tokens: list[int] = []
            tiles: list[NDArray[np.float32]] = []
            positions: list[NDArray[np.int32]] = []
            causal, count = True, 0
            for chunk in chunks:
                if _is_text(chunk):
                    tokens += _text(chunk)
                    continue
                tiles.append(self._encode(chunk))
                causal &= not m.mtmd_decode_use_non_causal(self._handle, chunk)
                positions.append(self._positions(chunk))
                steps = self._steps(chunk)
                tokens += [row_token(number, count + row, step) for row, step in enumerate(steps)]
                count += len(steps)
        if not causal and max(map(len, tiles)) > self.most_rows:
            raise StageError("llm", f"A tile of the image has more than {self.most_rows} rows.")
        ends = tuple(int(end) for end in np.cumsum([len(tile) for tile in tiles]))
        places = np.concatenate(positions, axis=1)
        return Picture(number, tuple(tokens), np.concatenate(tiles), places, ends, causal)

    def _encode(self, chunk: Any) -> NDArray[np.float32]:
        if code := m.mtmd_encode_chunk(self._handle, chunk):
            raise StageError("llm", f"The projector could not see the image (mtmd_encode_chunk returned {code}).")
        shape = (m.mtmd_input_chunk_get_n_tokens(chunk), self._width)
        return np.ctypeslib.as_array(m.mtmd_get_output_embd(self._handle), shape=shape).copy()

    def _positions(self, chunk: Any) -> NDArray[np.int32]:
        """Returns the positions of the rows of a tile, [kinds, rows]."""
        count = m.mtmd_input_chunk_get_n_tokens(chunk)
        if not m.mtmd_decode_use_mrope(self._handle):
            return np.arange(count, dtype=np.int32)[np.newaxis]
        places = (m.mtmd_decoder_pos * count)()
        m.mtmd_helper_image_get_decoder_pos(m.mtmd_input_chunk_get_tokens_image(chunk), 0, places)
        return np.array([[place.t, place.y, place.x, place.z] for place in places], np.int32).T

    def _steps(self, chunk: Any) -> list[int]:
        """Returns how many positions each row of a tile takes: the last all of them, where rows share positions."""
        count = m.mtmd_input_chunk_get_n_tokens(chunk)
        if not m.mtmd_decode_use_mrope(self._handle):
            return [1] * count
        return [0] * (count - 1) + [m.mtmd_input_chunk_get_n_pos(chunk)]

    @contextmanager
    def _bitmap(self, image: Image) -> Iterator[Any]:
        """Yields the image's pixels as llama.cpp takes them."""
        if image.width * image.height > MAX_PIXELS:
            raise _bad(f"The image has more than {MAX_PIXELS // 1_000_000} million pixels: send a smaller one.")
        data = (ctypes.c_uint8 * len(image.data)).from_buffer_copy(image.data)
        with ExitStack() as freed:
            bitmap = m.mtmd_helper_bitmap_init_from_buf(self._handle, data, len(image.data), False)
            if not bitmap:
                raise _bad("The image is damaged: it cannot be read.")
            freed.callback(m.mtmd_bitmap_free, bitmap)
            if image.detail == "low" and max(image.width, image.height) > LOW_DETAIL:
                bitmap = _smaller(bitmap)
                freed.callback(m.mtmd_bitmap_free, bitmap)
            yield bitmap

    @contextmanager
    def _chunks(self, bitmap: Any) -> Iterator[list[Any]]:
        """Yields what stands for an image in a prompt: pieces of text, and tiles of the image to be encoded."""
        marker = m.mtmd_get_marker(self._handle)
        text = m.mtmd_input_text(marker, len(marker), False, True)
        chunks = m.mtmd_input_chunks_init()
        try:
            bitmaps = (m.mtmd_bitmap_p_ctypes * 1)(bitmap)
            if code := m.mtmd_tokenize(self._handle, chunks, ctypes.byref(text), bitmaps, 1):
                raise StageError("llm", f"The projector could not take the image (mtmd_tokenize returned {code}).")
            yield [m.mtmd_input_chunks_get(chunks, index) for index in range(m.mtmd_input_chunks_size(chunks))]
        finally:
            m.mtmd_input_chunks_free(chunks)

    def _try_out(self) -> int:
        """Returns the most rows that have to be decoded at once: those of a tile of a large image, where they look at
        each other.

        Raises:
            NativeError: the model has not the tokens that the projector puts around images.
        """
        side = 2048
        pixels = np.zeros((side, side, 3), np.uint8)
        bitmap = m.mtmd_bitmap_init(side, side, pixels.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))
        try:
            with self._chunks(bitmap) as chunks:
                texts = [chunk for chunk in chunks if _is_text(chunk)]
                if any(is_row(token) for chunk in texts for token in _text(chunk)):
                    problem = "the model's vocabulary lacks the tokens that are put around images"
                    raise NativeError(problem)
                rows = max(int(m.mtmd_input_chunk_get_n_tokens(chunk)) for chunk in chunks if chunk not in texts)
        finally:
            m.mtmd_bitmap_free(bitmap)
        return max(MAX_ROWS, rows) if m.mtmd_decode_use_non_causal(self._handle, None) else MAX_ROWS


def load_projector(projector: str, model: Model, threads: int) -> Vision:
    """Loads the projector that the option names.

    Raises:
        EngineError: it is not there, cannot be loaded, or does not belong to the model.
    """
    path = locate(projector, "projector")
    try:
        return Vision(path, model, threads=threads)
    except NativeError as error:
        raise EngineError(
            f"The projector {path} cannot be used: {error}.",
            "Name the mmproj file that belongs to this model, or leave it out: the model then sees nothing.",
            "projector",
        ) from error


def see_all(vision: Vision | None, messages: Iterable[Message]) -> Pictures:
    """Returns the images of a conversation as the model sees them.

    Raises:
        StageError: an image is damaged or too large, or the model does not see.
    """
    images = [image for message in messages for image in message.images]
    if images and vision is None:
        raise StageError("llm", "The language model does not see images.", kind="invalid_request_error")
    return {image: vision.see(image) for image in images} if vision else {}


def seen(vision: Vision | None, messages: Iterable[Message]) -> Pictures | None:
    """Returns the images of a conversation as the model has seen them; None: some it has not, or it does not see."""
    images = [image for message in messages for image in message.images]
    found = {image: vision.seen(image) if vision else None for image in images}
    pictures = {image: picture for image, picture in found.items() if picture is not None}
    return pictures if len(pictures) == len(found) else None


def _number(image: Image) -> int:
    detail = b"low" if image.detail == "low" else b""
    digest = blake2b(image.data, digest_size=8, key=detail).digest()
    return int.from_bytes(digest, "big")


def _is_text(chunk: Any) -> bool:
    return bool(m.mtmd_input_chunk_get_type(chunk) == m.MTMD_INPUT_CHUNK_TYPE_TEXT)


def _text(chunk: Any) -> list[int]:
    count = ctypes.c_size_t()
    tokens = m.mtmd_input_chunk_get_tokens_text(chunk, ctypes.byref(count))
    return [int(token) for token in tokens[: count.value]]


def _smaller(bitmap: Any) -> Any:
    """Returns a bitmap whose longer side has no more than `LOW_DETAIL` pixels: each is the mean of a square."""
    width, height = m.mtmd_bitmap_get_nx(bitmap), m.mtmd_bitmap_get_ny(bitmap)
    data = ctypes.cast(m.mtmd_bitmap_get_data(bitmap), ctypes.POINTER(ctypes.c_uint8))
    pixels = np.ctypeslib.as_array(data, shape=(height, width, 3))
    step = -(-max(width, height) // LOW_DETAIL)
    for axis in (0, 1):
        starts = np.arange(0, pixels.shape[axis], step)
        counts = np.diff(np.append(starts, pixels.shape[axis]))
        sums = np.add.reduceat(pixels.astype(np.uint32), starts, axis=axis)
        pixels = sums // (counts[:, None, None] if axis == 0 else counts[None, :, None])
    small = np.ascontiguousarray(pixels.astype(np.uint8))
    return m.mtmd_bitmap_init(small.shape[1], small.shape[0], small.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8)))


def _bad(problem: str) -> StageError:
    return StageError("llm", problem, code="invalid_image", kind="invalid_request_error")


def _reason(errors: list[str]) -> str:
    """The cause in llama.cpp's log, without the names of the functions that tell it: the first line says most."""
    text = " ".join(" ".join(errors).split())
    if _UNFIT in text:
        return "it belongs to another model: " + text.partition("mismatch between ")[2].partition(" hint:")[0]
    if not errors:
        return "llama.cpp gave no reason"
    return re.sub(r"^(clip_init: failed to load model '.*?': )?\w+: (error: )?", "", errors[0])


class _GgufParams(ctypes.Structure):
    _fields_ = (("no_alloc", ctypes.c_bool), ("context", ctypes.c_void_p))


def _check_whole(path: Path) -> None:
    """Raises NativeError when the file ends before its last tensor, which libmtmd does not see."""
    ggml = libggml
    ggml.gguf_init_from_file.argtypes = (ctypes.c_char_p, _GgufParams)
    ggml.gguf_init_from_file.restype = ctypes.c_void_p
    for name, more in (("n_tensors", ()), ("data_offset", ()), ("tensor_offset", _INDEX), ("tensor_size", _INDEX)):
        function = getattr(ggml, f"gguf_get_{name}")
        function.argtypes, function.restype = (ctypes.c_void_p, *more), ctypes.c_size_t
    ggml.gguf_free.argtypes, ggml.gguf_free.restype = (ctypes.c_void_p,), None
    with errors_heard():
        file = ggml.gguf_init_from_file(str(path).encode(), _GgufParams(True, None))
    if not file:
        return  # libmtmd says better what is wrong with it
    try:
        count, start = ggml.gguf_get_n_tensors(file), ggml.gguf_get_data_offset(file)
        ends = (ggml.gguf_get_tensor_offset(file, at) + ggml.gguf_get_tensor_size(file, at) for at in range(count))
        end = start + max(ends, default=0)
    finally:
        ggml.gguf_free(file)
    if path.stat().st_size < end:
        raise NativeError(f"the file has {path.stat().st_size} bytes of {end}")


_INDEX = (ctypes.c_int64,)
