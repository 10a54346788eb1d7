"""Sound at 8 kHz and back: three samples for one to the sample, no seams, nothing heard that was not there."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.g711 import A_LAW, MU_LAW
from pipeline.telephone import TELEPHONE_RATE, TelephoneDecoder, TelephoneEncoder
from pipeline.types import WIRE_RATE, Pcm16

NOISE: Pcm16 = np.random.default_rng(5).integers(-20_000, 20_000, 3_000).astype(np.int16)


class Unlawful:
    """16 bits a sample in place of a law, so that the filter is measured and nothing else."""

    def decode(self, codes: Pcm16) -> Pcm16:
        return codes

    def encode(self, samples: Pcm16) -> Any:
        return samples.tobytes()


def tone(hertz: float, rate: int, seconds: float = 1.0, shift: int = 0) -> Any:
    return 10_000 * np.sin(2 * np.pi * hertz * (np.arange(int(rate * seconds)) - shift) / rate)


def level_db(sound: Any, reference: Any) -> float:
    """How loud `sound` is against `reference`, without the first and last 20 ms."""
    inner = slice(len(sound) // 50, -len(sound) // 50)
    power = (np.asarray(sound, float)[inner] ** 2).mean() / (np.asarray(reference, float)[inner] ** 2).mean()
    return float(10 * np.log10(max(power, 1e-20)))


def cut(sound: Any, places: list[int]) -> list[Any]:
    edges = [0, *sorted(place % (len(sound) + 1) for place in places), len(sound)]
    return [sound[start:end] for start, end in pairwise(edges)]


@given(st.lists(st.integers(0, 10_000), max_size=12))
@settings(deadline=None)
def test_what_comes_in_pieces_is_decoded_as_if_it_came_at_once(places: list[int]) -> None:
    codes = MU_LAW.encode(NOISE)
    decoder = TelephoneDecoder(MU_LAW)
    pieces = []
    for piece in cut(codes, places):
        samples = decoder.samples(piece)
        assert len(samples) == 3 * len(piece), "at every moment"
        pieces.append(samples)
    assert (np.concatenate(pieces) == TelephoneDecoder(MU_LAW).samples(codes)).all()


@given(st.integers(0, 3_000), st.lists(st.integers(0, 10_000), max_size=12))
@settings(deadline=None)
def test_what_comes_in_pieces_is_encoded_as_if_it_came_at_once(length: int, places: list[int]) -> None:
    sound = NOISE[:length]
    encoder, whole = TelephoneEncoder(A_LAW), TelephoneEncoder(A_LAW)
    pieces = b"".join(encoder.encode(piece) for piece in cut(sound, places)) + encoder.flush()
    assert len(pieces) == -(-length // 3)
    assert pieces == whole.encode(sound) + whole.flush()


def test_no_more_than_the_filters_4_ms_are_held_back() -> None:
    encoder = TelephoneEncoder(MU_LAW)
    sent = 0
    for start in range(0, len(NOISE), 100):
        sent += len(encoder.encode(NOISE[start : start + 100]))
        assert 0 <= start + 100 - 3 * sent <= 95 + 3


@pytest.mark.parametrize("hertz", [200, 1_000, 2_500, 3_400])
def test_the_telephone_band_passes_unchanged(hertz: int) -> None:
    encoder = TelephoneEncoder(Unlawful())  # type: ignore[arg-type]
    sound = np.rint(tone(hertz, WIRE_RATE)).astype(np.int16)
    coded = np.frombuffer(encoder.encode(sound) + encoder.flush(), np.int16)
    expected = tone(hertz, TELEPHONE_RATE)
    assert level_db(coded - expected, expected) < -60, "and lies where it was"
    heard = TelephoneDecoder(Unlawful()).samples(coded)  # type: ignore[arg-type]
    expected = tone(hertz, WIRE_RATE, shift=95)
    assert level_db(heard - expected, expected) < -60, "and comes 4 ms later"


@pytest.mark.parametrize("hertz", [4_300, 5_000, 7_000, 9_000, 11_900])
def test_what_a_telephone_cannot_carry_is_taken_out(hertz: int) -> None:
    encoder = TelephoneEncoder(Unlawful())  # type: ignore[arg-type]
    sound = np.rint(tone(hertz, WIRE_RATE)).astype(np.int16)
    coded = np.frombuffer(encoder.encode(sound) + encoder.flush(), np.int16)
    assert level_db(coded, tone(hertz, TELEPHONE_RATE) + 1e4) < -60


@pytest.mark.parametrize("hertz", [500, 1_000, 3_400])
def test_a_tone_has_no_images_above_the_telephone_band(hertz: int) -> None:
    samples = np.rint(tone(hertz, TELEPHONE_RATE)).astype(np.int16)
    heard = TelephoneDecoder(Unlawful()).samples(samples)[240:-240]  # type: ignore[arg-type]
    spectrum = np.abs(np.fft.rfft(heard * np.hanning(len(heard))))
    above = int(4_200 * len(heard) / WIRE_RATE)
    assert 20 * np.log10(spectrum[above:].max() / spectrum.max()) < -65


def test_the_loudest_sound_does_not_wrap_around() -> None:
    square = np.where(np.arange(4_800) // 24 % 2, 32_767, -32_768).astype(np.int16)
    encoder = TelephoneEncoder(MU_LAW)
    heard = TelephoneDecoder(MU_LAW).samples(encoder.encode(square) + encoder.flush())
    delayed = heard[95:][: len(square) - 95].astype(int)
    middle = square[: len(delayed)].astype(int)
    away = np.abs(np.arange(len(middle)) % 24 - 12) < 6
    assert (np.sign(delayed[away][40:-40]) == np.sign(middle[away][40:-40])).all()
