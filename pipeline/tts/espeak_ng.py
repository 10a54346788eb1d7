"""espeak-ng (https://github.com/espeak-ng/espeak-ng) through ctypes, from the `espeakng-loader` wheel.

The C library has one voice, one rate and one callback for the whole process, so all engines of a process share
one `_Library`, and a lock lets one clause in at a time.

A clause is made whole before its first chunk is yielded. That costs ~1 ms for each second of speech (1 ms for a
short first clause, 5 ms for a sentence of 5.5 s); handing over chunks from inside the C callback would take
another thread and a queue to save less than that.
"""

import ctypes
import difflib
import functools
import importlib.metadata
import tempfile
import threading
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import espeakng_loader
import msgspec
import numpy as np

from pipeline.errors import EngineError, StageError
from pipeline.stages import EngineOptions, SynthesizerCapabilities
from pipeline.types import Pcm16, SpeechRequest
from pipeline.workers import CancelToken

RATE = 22_050
"""Samples a second: the rate of espeak-ng's phoneme data."""

SLOWEST_WPM, FASTEST_WPM = 80, 450
"""Words a minute: espeakRATE_MINIMUM and espeakRATE_MAXIMUM of speak_lib.h. It says 80 to whatever is below."""

_CHUNK_MS = 60
_LONGEST_DATA_PATH = 150
"""Bytes. espeak-ng keeps the path of its data, file name included, in 160 (N_PATH_HOME of speech.h), and falls back
to a folder of whoever built it when it does not fit."""

# Names and numbers of speak_lib.h.
_AUDIO_OUTPUT_SYNCHRONOUS = 2
_INITIALIZE_DONT_EXIT = 0x8000
_RATE, _PITCH = 1, 3
_POS_CHARACTER = 1
_CHARS_UTF8 = 1
_ENDPAUSE = 0x1000

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class _VoiceStruct(ctypes.Structure):
    """espeak_VOICE. `languages` is a list of: one byte of priority, a name, a zero byte; a zero byte ends it."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("languages", ctypes.c_void_p),
        ("identifier", ctypes.c_char_p),
        ("gender", ctypes.c_ubyte),
        ("age", ctypes.c_ubyte),
        ("variant", ctypes.c_ubyte),
        ("xx1", ctypes.c_ubyte),
        ("score", ctypes.c_int),
        ("spare", ctypes.c_void_p),
    ]


class _Library:
    """The one espeak-ng of this process. Stays loaded until the process ends: its data is 1 MB."""

    def __init__(self) -> None:
        try:
            self._c = ctypes.CDLL(espeakng_loader.get_library_path())
            data = Path(espeakng_loader.get_data_path())
            _check_data(data)
            data = self._with_short_path(data)
        except (OSError, RuntimeError) as error:
            raise EngineError(f"espeak-ng cannot be loaded: {error}.", "Install espeakng-loader again.") from error
        rate = self._c.espeak_Initialize(
            _AUDIO_OUTPUT_SYNCHRONOUS, _CHUNK_MS, str(data).encode(), _INITIALIZE_DONT_EXIT
        )
        if rate != RATE:
            raise EngineError(f"espeak-ng cannot read its data in {data}.", "Install espeakng-loader again.")
        self._declare()
        self._lock = threading.Lock()
        self._chunks: list[Pcm16] = []
        self._cancel = CancelToken()
        self._voice = ""
        self._callback = _Callback(self._take)  # C keeps a bare pointer to it
        self._c.espeak_SetSynthCallback(self._callback)
        self.voices = self._list_voices(data)
        self.variants = {path.name.lower(): path.name for path in sorted((data / "voices" / "!v").iterdir())}

    def find(self, name: str) -> str | None:
        """Returns the name by which espeak-ng itself knows a voice such as `en-us` or `en-us+klatt4`, if it does."""
        language, plus, variant = name.lower().partition("+")
        if language not in self.voices or (plus and variant not in self.variants):
            return None
        return self.voices[language] + plus + self.variants.get(variant, "")

    def names(self, voice: str) -> list[str]:
        """Returns every language's voice, and every variant of the language of `voice`."""
        language = voice.lower().partition("+")[0]
        variants = [f"{language}+{variant}" for variant in self.variants] if language in self.voices else []
        return [*sorted(self.voices), *variants]

    def speak(self, text: str, voice: str, words_per_minute: int, pitch: int, cancel: CancelToken) -> list[Pcm16]:
        """Says a text with a voice that `find` returned. Gives what was made when `cancel` is set meanwhile."""
        flags = _CHARS_UTF8 | (_ENDPAUSE if _ends_with_punctuation(text) else 0)
        encoded = text.encode("utf-8", "replace")
        with self._lock:
            if cancel.cancelled:
                return []
            self._chunks, self._cancel = [], cancel
            self._choose(voice, words_per_minute, pitch)
            error = self._c.espeak_Synth(encoded, len(encoded) + 1, 0, _POS_CHARACTER, 0, flags, None, None)
            chunks, self._chunks = self._chunks, []
        if error and not cancel.cancelled:
            raise StageError("tts", f"espeak-ng cannot say this (error {error}).")
        return chunks

    def _choose(self, voice: str, words_per_minute: int, pitch: int) -> None:
        if voice != self._voice:
            if self._c.espeak_SetVoiceByName(voice.encode()):
                raise StageError("tts", f"espeak-ng cannot load its voice {voice}.")
            self._voice = voice
        self._c.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._c.espeak_SetParameter(_PITCH, pitch, 0)

    def _take(self, samples: "ctypes._Pointer[ctypes.c_short]", count: int, _events: object) -> int:
        """Called by espeak_Synth, on its thread, with each chunk; returns 1 to end the clause."""
        if samples and count > 0:
            self._chunks.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return int(self._cancel.cancelled)

    def _declare(self) -> None:
        """Tells ctypes the types that it would guess wrong."""
        self._c.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        self._c.espeak_ListVoices.restype = ctypes.POINTER(ctypes.POINTER(_VoiceStruct))

    def _with_short_path(self, data: Path) -> Path:
        if len(str(data).encode()) <= _LONGEST_DATA_PATH:
            return data
        self._folder = tempfile.TemporaryDirectory(prefix="parley-espeak-")  # goes when the process ends
        link = Path(self._folder.name) / "espeak-ng-data"
        link.symlink_to(data)
        return link

    def _list_voices(self, data: Path) -> dict[str, str]:
        """Maps languages, in lower case, to the identifiers of the voices that speak them."""
        found: dict[str, str] = {}
        listed = self._c.espeak_ListVoices(None)
        index = 0
        while listed[index]:
            voice = listed[index].contents
            identifier = voice.identifier.decode()
            for language in _languages(voice.languages):
                # Some voices of the wheel lack their dictionary: they would speak gibberish.
                if _has_dictionary(data, identifier, language):
                    found.setdefault(language, identifier)
            index += 1
        return found


def _check_data(data: Path) -> None:
    """Compares the sizes of the data's files with what their wheel says of them.

    espeak-ng trusts its tables: one that is cut short ends the process, or is spoken as noise.

    Raises:
        EngineError: a file is not as it was installed.
    """
    try:
        installed = importlib.metadata.files("espeakng-loader") or []
    except importlib.metadata.PackageNotFoundError:
        installed = []
    for file in installed:
        if file.parts[:2] != ("espeakng_loader", "espeak-ng-data") or file.size is None:
            continue
        path = data.joinpath(*file.parts[2:])
        if not path.is_file() or path.stat().st_size != file.size:
            raise EngineError(f"espeak-ng's {path} is missing or damaged.", "Install espeakng-loader again.")


def _languages(address: int) -> Iterator[str]:
    while ctypes.string_at(address, 1) != b"\0":
        name = ctypes.string_at(address + 1)
        yield name.decode().lower()
        address += 1 + len(name) + 1


def _has_dictionary(data: Path, identifier: str, language: str) -> bool:
    """Whether a voice's dictionary is there: the one its file names, or that of its language."""
    lines = (line.split() for line in (data / "lang" / identifier).read_text("utf-8", "replace").splitlines())
    named = next((line[1] for line in lines if len(line) > 1 and line[0] == "dictionary"), None)
    return (data / f"{named or language.partition('-')[0]}_dict").is_file()


@functools.cache
def _load() -> _Library:
    return _Library()


_loading = threading.Lock()


def _library() -> _Library:
    """Returns the process's espeak-ng, loaded once. (Two threads that miss a cache would both fill it.)"""
    with _loading:
        return _load()


def _ends_with_punctuation(text: str) -> bool:
    return unicodedata.category(text.rstrip()[-1:] or " ").startswith("P")


def _plain(text: str) -> str:
    """Takes out control characters: espeak-ng obeys some of them, and a zero would end the text."""
    return "".join(" " if unicodedata.category(character) == "Cc" else character for character in text)


class EspeakNg:
    """Speech with espeak-ng: 140 languages, a robot's voice, ~1 ms of computing for each second of speech."""

    class Options(EngineOptions, frozen=True, kw_only=True):
        """What a clause is said with unless its request says otherwise."""

        voice: Annotated[
            str,
            msgspec.Meta(description="A language, such as `en-us` or `de`, and perhaps a variant: `en-us+klatt4`."),
        ] = "en-us"
        words_per_minute: Annotated[
            int, msgspec.Meta(ge=SLOWEST_WPM, le=FASTEST_WPM, description="How fast it speaks at speed 1.0.")
        ] = 160
        pitch: Annotated[int, msgspec.Meta(ge=0, le=100, description="From 0, low, to 100, high.")] = 50

    rate = RATE
    concurrency = 1  # the library has one global state

    def __init__(self, options: Options) -> None:
        """Loads the library, once for all engines of the process.

        Raises:
            EngineError: the library or its data is missing, or there is no such voice.
        """
        self._options = options
        self._closed = False
        self._library = _library()
        names = self._library.names(options.voice)
        if self._library.find(options.voice) is None:
            close = difflib.get_close_matches(options.voice.lower(), names, n=3) or ["en-us", "en-gb"]
            raise EngineError(
                f"espeak-ng has no voice {options.voice!r}.", f"Try {' or '.join(close)}.", option="voice"
            )
        others = (name for name in names if name != options.voice)
        slowest, fastest = (limit / options.words_per_minute for limit in (SLOWEST_WPM, FASTEST_WPM))
        self.capabilities = SynthesizerCapabilities(
            voices=(options.voice, *others), languages=frozenset(self._library.voices), speeds=(slowest, fastest)
        )

    def synthesize(self, request: SpeechRequest, cancel: CancelToken) -> Iterator[Pcm16]:
        """Says one clause, int16 at 22,050 Hz, in chunks of up to 60 ms.

        A clause that ends with punctuation ends with the pause that belongs to it (0.2–0.4 s at 160 words a
        minute). A speed outside `capabilities.speeds` is taken as the nearest in it. The text is plain:
        neither SSML nor phoneme markup means anything.

        Raises:
            StageError: there is no such voice, espeak-ng fails, or the engine has been closed.
        """
        if self._closed:
            raise StageError("tts", "The engine has been closed.")
        name = self._options.voice if request.voice is None else request.voice
        voice = self._library.find(name)
        if voice is None:
            raise StageError("tts", f"espeak-ng has no voice {name!r}.")
        wanted = round(self._options.words_per_minute * request.speed)
        words_per_minute = max(SLOWEST_WPM, min(FASTEST_WPM, wanted))
        chunks = self._library.speak(_plain(request.text), voice, words_per_minute, self._options.pitch, cancel)
        for chunk in chunks:
            if cancel.cancelled:
                return
            yield chunk

    def warm_up(self) -> None:
        """Says a word, which loads the voice's dictionary (20 ms)."""
        for _ in self.synthesize(SpeechRequest("Hello."), CancelToken()):
            pass

    def close(self) -> None:
        """Leaves the library to other engines of the process."""
        self._closed = True
