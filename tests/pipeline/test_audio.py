"""Sound keeps its place, its loudness and its length on its way through the pipeline."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.audio import StreamResampler, pcm16_from_bytes, pcm16_to_bytes, slices, to_float
from pipeline.types import Pcm16

RATES = [(24_000, 16_000), (22_050, 24_000), (16_000, 24_000), (8_000, 24_000), (24_000, 24_000)]

DITHER = 2
"""soxr by itself rounds to 16 bits with a random dither of one step."""


def noise(samples: int, seed: int = 0) -> Pcm16:
    return np.random.default_rng(seed).integers(-20_000, 20_000, samples).astype(np.int16)


def tone(seconds: float, rate: int, hertz: float = 440.0) -> Pcm16:
    times = np.arange(int(seconds * rate)) / rate
    return (10_000 * np.sin(2 * np.pi * hertz * times)).astype(np.int16)


def resampled(sound: Pcm16, rate_in: int, rate_out: int, cuts: list[int]) -> Pcm16:
    stream = StreamResampler(rate_in, rate_out)
    pieces = [stream.process(piece) for piece in np.split(sound, sorted(cut for cut in cuts if cut < len(sound)))]
    return np.concatenate([*pieces, stream.flush()])


@given(
    samples=st.integers(0, 6_000),
    cuts=st.lists(st.integers(0, 6_000), max_size=12),
    rates=st.sampled_from(RATES),
)
@settings(max_examples=150, deadline=None)
def test_a_stream_in_any_pieces_gives_what_the_whole_gives(
    samples: int, cuts: list[int], rates: tuple[int, int]
) -> None:
    sound = noise(samples)
    whole = resampled(sound, *rates, []).astype(int)
    parts = resampled(sound, *rates, cuts).astype(int)
    assert np.array_equal(parts, whole)
    assert abs(len(whole) - samples * rates[1] / rates[0]) <= 1


@pytest.mark.parametrize("rates", RATES)
def test_what_comes_out_is_not_shifted_against_what_went_in(rates: tuple[int, int]) -> None:
    rate_in, rate_out = rates
    out = resampled(tone(0.5, rate_in), rate_in, rate_out, [1_000, 1_001, 5_000])
    expected = tone(0.5, rate_out)[: len(out)]
    middle = slice(rate_out // 20, -rate_out // 20)  # the filter rings at the ends, where the tone jumps
    assert np.abs(out[middle].astype(int) - expected[middle]).max() < 60  # a shift by one sample would be 1000


def test_resampling_in_a_stream_is_as_good_as_in_one_go() -> None:
    sound = noise(24_000)
    reference = soxr.resample(sound, 24_000, 16_000, quality="HQ")
    assert np.abs(resampled(sound, 24_000, 16_000, [777]).astype(int) - reference).max() <= DITHER


def test_sound_above_half_the_rate_is_filtered_out() -> None:
    out = resampled(tone(0.5, 24_000, 11_000), 24_000, 16_000, [])
    assert np.abs(out[1_000:-1_000].astype(int)).max() < 20


def test_full_scale_is_clipped_and_never_wraps_round() -> None:
    square = np.repeat(np.array([32_767, -32_768] * 20, np.int16), 200)
    out = resampled(square, 22_050, 24_000, [])
    for index in range(40):
        middle = int((index + 0.5) * 200 * 24_000 / 22_050)
        assert (out[middle - 60 : middle + 60] > 0).all() == (index % 2 == 0)


def test_flush_gives_the_rest_which_lagged_behind() -> None:
    stream = StreamResampler(24_000, 16_000)
    sound = noise(24_000)
    early = stream.process(sound)
    rest = stream.flush()
    assert 0 < len(rest) < 1_000
    assert len(early) + len(rest) == 16_000


def test_an_empty_stream_flushes_to_nothing() -> None:
    assert len(StreamResampler(22_050, 24_000).flush()) == 0
    assert len(StreamResampler(24_000, 24_000).flush()) == 0


@given(st.binary(max_size=200))
def test_bytes_survive_the_way_to_samples_and_back(data: bytes) -> None:
    if len(data) % 2:
        with pytest.raises(ValueError, match="multiple"):
            pcm16_from_bytes(data)
    else:
        samples = pcm16_from_bytes(data)
        assert samples.dtype == np.int16
        assert pcm16_to_bytes(samples) == data


def test_bytes_are_little_endian() -> None:
    assert pcm16_from_bytes(b"\x01\x00\x00\x80").tolist() == [1, -32_768]
    assert pcm16_to_bytes(np.array([1, -32_768], np.int16)) == b"\x01\x00\x00\x80"


def test_samples_as_floats_lie_in_minus_one_to_one() -> None:
    assert to_float(np.array([-32_768, 0, 16_384, 32_767], np.int16)).tolist() == [-1.0, 0.0, 0.5, 32_767 / 32_768]
    assert to_float(np.zeros(1, np.int16)).dtype == np.float32


@given(samples=st.integers(0, 500), most=st.integers(1, 200))
def test_slices_join_to_the_whole_and_none_is_too_long_or_empty(samples: int, most: int) -> None:
    pieces = list(slices(np.arange(samples, dtype=np.int16), most))
    assert all(0 < len(piece) <= most for piece in pieces)
    assert [value for piece in pieces for value in piece] == list(range(samples))
