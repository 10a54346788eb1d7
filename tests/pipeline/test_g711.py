"""G.711 by the book: every code, every sample, and the sequences that the standard itself gives."""

import numpy as np
import pytest

from pipeline.g711 import A_LAW, MU_LAW, Law
from pipeline.types import Pcm16

CODES = bytes(range(256))
SAMPLES = np.arange(-32_768, 32_768).astype(np.int16)

MU_OVERLOAD = 8_159 * 4
A_OVERLOAD = 4_096 * 8
"""The last decision values (G.711 tables 1 and 2), at 16 bits."""


@pytest.mark.parametrize(
    ("law", "code", "sample"),
    [
        # Tables 2a and 2b: quantised values in 14 bits, times four.
        (MU_LAW, 0xFF, 0),
        (MU_LAW, 0x7F, 0),
        (MU_LAW, 0xFE, 2 * 4),
        (MU_LAW, 0xEF, 33 * 4),
        (MU_LAW, 0xF0, 30 * 4),
        (MU_LAW, 0x8F, 4_191 * 4),
        (MU_LAW, 0x80, 8_031 * 4),
        (MU_LAW, 0x00, -8_031 * 4),
        (MU_LAW, 0x02, -7_519 * 4),
        # Tables 1a and 1b: in 13 bits, times eight; the even bits are inverted.
        (A_LAW, 0xD5, 1 * 8),
        (A_LAW, 0x55, -1 * 8),
        (A_LAW, 0x80 | (32 ^ 0x55), 66 * 8),
        (A_LAW, 0x80 | (112 ^ 0x55), 2_112 * 8),
        (A_LAW, 0xAA, 4_032 * 8),
        (A_LAW, 0x2A, -4_032 * 8),
    ],
)
def test_codes_stand_for_the_values_of_the_tables(law: Law, code: int, sample: int) -> None:
    assert law.decode(bytes([code])).tolist() == [sample]


@pytest.mark.parametrize(
    ("law", "sequence", "overload", "below_db"),
    [
        (MU_LAW, "1e 0b 0b 1e 9e 8b 8b 9e", MU_OVERLOAD, 3.17),
        (A_LAW, "34 21 21 34 b4 a1 a1 b4", A_OVERLOAD, 3.14),
    ],
    ids=["mu", "A"],
)
def test_the_digital_milliwatt_is_a_tone_of_1_khz_at_its_level(
    law: Law, sequence: str, overload: int, below_db: float
) -> None:
    """G.711 tables 5 and 6: this sequence, repeated, is 0 dBm0, so far below the overload point."""
    spectrum = np.fft.rfft(law.decode(bytes.fromhex(sequence)).astype(float))
    assert np.argmax(np.abs(spectrum)) == 1
    amplitude = 2 * np.abs(spectrum[1]) / 8
    assert 20 * np.log10(overload / amplitude) == pytest.approx(below_db, abs=0.03)


@pytest.mark.parametrize("law", [MU_LAW, A_LAW], ids=["mu", "A"])
def test_every_code_comes_back(law: Law) -> None:
    back = law.encode(law.decode(CODES))
    other = {code: again for code, again in zip(CODES, back, strict=True) if code != again}
    assert other == ({0x7F: 0xFF} if law is MU_LAW else {}), "mu-law has two zeros, which sound the same"


def decisions_of(law: Law) -> list[int]:
    """The smallest sample of each interval, from zero up."""
    positive = np.arange(32_768).astype(np.int16)
    codes = np.frombuffer(law.encode(positive), np.uint8).astype(int)
    return [0, *(np.flatnonzero(np.diff(codes)) + 1).tolist()]


def test_the_decision_values_are_those_of_the_tables() -> None:
    mu = [value // 4 for value in decisions_of(MU_LAW)]
    assert mu[:4] == [0, 1, 3, 5]
    assert [mu[16 * segment] for segment in range(1, 8)] == [31, 95, 223, 479, 991, 2015, 4063]
    a = [value // 8 for value in decisions_of(A_LAW)]
    assert a[:3] == [0, 2, 4]
    assert [a[16 * segment] for segment in range(2, 8)] == [64, 128, 256, 512, 1024, 2048]
    assert (len(mu), len(a)) == (128, 128)


@pytest.mark.parametrize(("law", "overload"), [(MU_LAW, MU_OVERLOAD), (A_LAW, A_OVERLOAD)], ids=["mu", "A"])
def test_every_sample_is_decoded_as_a_value_of_its_own_interval(law: Law, overload: int) -> None:
    edges = np.array([*decisions_of(law), overload])
    samples, coded = SAMPLES.astype(int), law.decode(law.encode(SAMPLES)).astype(int)
    interval = np.minimum(np.searchsorted(edges, np.abs(samples), side="right"), 128) - 1
    assert (edges[interval] <= np.abs(coded)).all()
    assert (np.abs(coded) < edges[interval + 1]).all()
    assert (np.sign(coded) * np.sign(samples) >= 0).all()


@pytest.mark.parametrize("law", [MU_LAW, A_LAW], ids=["mu", "A"])
def test_speech_level_sound_keeps_its_signal_to_noise_ratio(law: Law) -> None:
    """G.712 asks for 33 dB from -30 to 0 dBm0."""
    for level_db in (-10, -20, -30):
        sound = 0.7 * 32_768 * 10 ** (level_db / 20) * np.sin(np.arange(8_000) * 0.803)
        samples: Pcm16 = np.rint(sound).astype(np.int16)
        noise = law.decode(law.encode(samples)).astype(float) - samples
        assert 10 * np.log10((samples.astype(float) ** 2).mean() / (noise**2).mean()) > 33
