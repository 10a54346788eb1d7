"""The formats of sound on the wire, to and from the machine's own: int16 at 24 kHz.

Everything is counted in ticks of that. A byte of G.711 is three ticks, whichever way it goes.
"""

from typing import Protocol

from pipeline.audio import pcm16_to_bytes
from pipeline.g711 import A_LAW, MU_LAW
from pipeline.telephone import TelephoneDecoder, TelephoneEncoder
from pipeline.types import Pcm16
from server.realtime.refusal import Refusal
from server.realtime.schema import AudioFormat, PcmaFormat, PcmFormat, PcmuFormat


class SoundDecoder(Protocol):
    """The sound of a client, piece by piece."""

    def ticks(self, audio: bytes) -> int:
        """Returns the length of a piece.

        Raises:
            Refusal: it is not a whole number of samples.
        """

    def decode(self, audio: bytes) -> bytes:
        """Returns the next piece as PCM16 at 24 kHz, little-endian, of exactly its `ticks`."""


class SoundEncoder(Protocol):
    """The sound for a client, piece by piece."""

    def encode(self, samples: Pcm16) -> bytes:
        """Returns what is ready of it, in the format."""

    def flush(self) -> bytes:
        """Ends the stream and returns the rest of it."""

    def ticks(self, audio: bytes) -> int:
        """Returns the length of what `encode` or `flush` returned."""


class _Pcm:
    def ticks(self, audio: bytes) -> int:
        if len(audio) % 2:
            raise Refusal(
                "invalid_value", f"`audio` holds {len(audio)} bytes: not a whole number of 16-bit samples.", "audio"
            )
        return len(audio) // 2

    def decode(self, audio: bytes) -> bytes:
        return audio

    def encode(self, samples: Pcm16) -> bytes:
        return pcm16_to_bytes(samples)

    def flush(self) -> bytes:
        return b""


class _TelephoneIn(TelephoneDecoder):
    def ticks(self, audio: bytes) -> int:
        return 3 * len(audio)

    def decode(self, audio: bytes) -> bytes:
        return pcm16_to_bytes(self.samples(audio))


class _TelephoneOut(TelephoneEncoder):
    def ticks(self, audio: bytes) -> int:
        return 3 * len(audio)


_LAWS = {PcmuFormat: MU_LAW, PcmaFormat: A_LAW}


def decoder_of(format: AudioFormat) -> SoundDecoder:
    return _Pcm() if isinstance(format, PcmFormat) else _TelephoneIn(_LAWS[type(format)])


def encoder_of(format: AudioFormat) -> SoundEncoder:
    return _Pcm() if isinstance(format, PcmFormat) else _TelephoneOut(_LAWS[type(format)])
