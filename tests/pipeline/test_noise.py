"""What is promised of noise reduction."""

from typing import get_args

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.noise import DELAY, HOP, NoiseField, NoiseReducer
from pipeline.types import WIRE_RATE, Pcm16
from tests.speech import say

FIELDS = get_args(NoiseField)


def noise(seconds: float, level: float, seed: int = 0) -> NDArray[np.float64]:
    drawn: NDArray[np.float64] = np.random.default_rng(seed).standard_normal(round(seconds * WIRE_RATE)) * level
    return drawn


def as_pcm(sound: NDArray[np.float64]) -> Pcm16:
    return np.clip(np.rint(sound), -32_768, 32_767).astype(np.int16)


def loudness(sound: Pcm16) -> float:
    """In dB."""
    return float(20 * np.log10(np.std(sound.astype(np.float64)) + 1e-9))


def snr(clean: Pcm16, heard: Pcm16) -> float:
    """Signal-to-noise ratio of what was heard, in dB, whatever its level (the scale-invariant one)."""
    wanted, got = clean.astype(np.float64), heard.astype(np.float64)
    share = wanted * (wanted @ got) / (wanted @ wanted)
    return float(10 * np.log10((share @ share) / ((got - share) @ (got - share))))


@pytest.fixture(scope="module")
def speech() -> Pcm16:
    """A sentence with half a second of nothing on both sides."""
    room = np.zeros(WIRE_RATE // 2, np.int16)
    return np.concatenate((room, say("turn on the kitchen lights", WIRE_RATE), room))


@pytest.mark.parametrize("field", FIELDS)
def test_noise_alone_becomes_quiet(field: NoiseField) -> None:
    sound = as_pcm(noise(3, 800))
    quiet = NoiseReducer(field).process(sound)
    assert loudness(quiet[WIRE_RATE:]) < loudness(sound) - 12


def test_far_field_takes_out_more() -> None:
    sound = as_pcm(noise(3, 800))
    near, far = (NoiseReducer(field).process(sound)[WIRE_RATE:] for field in FIELDS)
    assert loudness(far) < loudness(near) - 2


@pytest.mark.parametrize("field", FIELDS)
def test_speech_stands_out_more(field: NoiseField, speech: Pcm16) -> None:
    noisy = as_pcm(speech + noise(len(speech) / WIRE_RATE, 400))
    heard = NoiseReducer(field).process(noisy)
    assert snr(speech[:-DELAY], heard[DELAY:]) > snr(speech, noisy) + 4


@pytest.mark.parametrize("field", FIELDS)
def test_speech_without_noise_stays_as_it_is(field: NoiseField, speech: Pcm16) -> None:
    heard = NoiseReducer(field).process(speech)
    assert snr(speech[:-DELAY], heard[DELAY:]) > 15
    assert loudness(heard) == pytest.approx(loudness(speech), abs=0.5)


@pytest.mark.parametrize("field", FIELDS)
def test_pieces_join_without_seams_and_as_much_comes_out_as_goes_in(field: NoiseField) -> None:
    sound = as_pcm(noise(2, 800))
    whole = NoiseReducer(field).process(sound)
    assert len(whole) == len(sound)
    random, reducer, pieces, start = np.random.default_rng(1), NoiseReducer(field), [], 0
    while start < len(sound):
        piece = sound[start : start + int(random.integers(0, 3 * HOP))]
        pieces.append(reducer.process(piece))
        assert len(pieces[-1]) == len(piece)
        start += len(piece)
    assert np.array_equal(np.concatenate(pieces), whole)


def test_nothing_stays_nothing_and_what_is_too_loud_stays_within_bounds() -> None:
    reducer = NoiseReducer("far_field")
    assert not reducer.process(np.zeros(WIRE_RATE, np.int16)).any()
    square = np.where(np.arange(WIRE_RATE) % 200 < 100, 32_767, -32_768).astype(np.int16)
    assert len(reducer.process(square)) == len(square)
    assert len(reducer.process(np.zeros(0, np.int16))) == 0


def test_noise_that_begins_later_is_found_within_seconds() -> None:
    reducer = NoiseReducer("near_field")
    reducer.process(np.zeros(WIRE_RATE, np.int16))
    sound = as_pcm(noise(4, 800))
    assert loudness(reducer.process(sound)[-WIRE_RATE:]) < loudness(sound) - 10


def test_speech_from_the_first_moment_is_not_taken_for_noise_for_long(speech: Pcm16) -> None:
    voice = speech[WIRE_RATE // 2 :]
    heard = NoiseReducer("near_field").process(voice)
    tail = slice(WIRE_RATE // 2, len(voice) - WIRE_RATE // 2)
    assert loudness(heard[tail]) > loudness(voice[tail]) - 3


def test_the_field_changes_without_a_seam() -> None:
    sound = as_pcm(noise(3, 800))
    reducer = NoiseReducer("near_field")
    before = reducer.process(sound[: 2 * WIRE_RATE])
    reducer.field = "far_field"
    after = reducer.process(sound[2 * WIRE_RATE :])
    near = NoiseReducer("near_field").process(sound)
    assert np.array_equal(before, near[: 2 * WIRE_RATE])
    assert np.array_equal(after[:HOP], near[2 * WIRE_RATE :][:HOP]), "what was heard is said to its end"
    assert loudness(after[DELAY + HOP :]) < loudness(near[2 * WIRE_RATE + DELAY + HOP :]) - 2
