"""Frames for the voice detector: at once, in their place, free of what would fold back, and alike in any company."""

import numpy as np
import pytest
import soxr

from pipeline.audio import pcm16_to_bytes, to_float
from pipeline.types import Pcm16, Samples
from pipeline.vad.frames import HISTORY, FrameMaker

DELAY_S = 0.0005


def tone(seconds: float, rate: int, hertz: float, delay: float = 0.0) -> Samples:
    times = np.arange(int(seconds * rate)) / rate - delay
    return (10_000 / 32_768 * np.sin(2 * np.pi * hertz * times)).astype(np.float32)


def pcm(sound: Samples) -> Pcm16:
    return np.rint(sound * 32_768).astype(np.int16)


def windows(maker: FrameMaker, sound: Pcm16) -> list[bytes]:
    padded = bytes(2 * HISTORY) + pcm16_to_bytes(sound)
    starts = range(0, 2 * (len(sound) - maker.ticks + 1), 2 * maker.ticks)
    return [padded[start : start + maker.window_bytes] for start in starts]


def heard(sound: Pcm16, frame: int = 512) -> Samples:
    maker = FrameMaker(frame)
    frames: Samples = maker.frames(windows(maker, sound)).reshape(-1)
    return frames


@pytest.mark.parametrize("hertz", [100.0, 1_000.0, 3_400.0, 6_500.0])
def test_a_frame_is_the_sound_half_a_millisecond_late(hertz: float) -> None:
    out = heard(pcm(tone(0.5, 24_000, hertz)))
    expected = tone(0.5, 16_000, hertz, DELAY_S)[: len(out)]
    assert np.abs(out - expected)[16:].max() < 0.01 * 10_000 / 32_768


@pytest.mark.parametrize("hertz", [9_400.0, 10_500.0, 11_800.0])
def test_what_would_fold_back_into_speech_is_not_in_it(hertz: float) -> None:
    out = heard(pcm(tone(0.5, 24_000, hertz)))
    assert np.abs(out[16:]).max() < 0.006 * 10_000 / 32_768


def test_it_is_as_good_as_soxr_where_speech_is() -> None:
    noise = np.random.default_rng(1).integers(-9_000, 9_000, 24_000).astype(np.int16)
    low = soxr.resample(soxr.resample(noise, 24_000, 12_000), 12_000, 24_000)  # nothing above 6 kHz
    out = heard(low)
    # Half a millisecond is eight samples.
    reference = to_float(soxr.resample(low, 24_000, 16_000))[: len(out) - 8]
    assert np.abs(out[8:] - reference)[100:].max() < 0.01


def test_a_frame_is_the_same_in_any_company() -> None:
    noise = np.random.default_rng(2).integers(-20_000, 20_000, 20 * 768).astype(np.int16)
    maker = FrameMaker(512)
    all_windows = windows(maker, noise)
    together = maker.frames(all_windows)
    assert together.shape == (20, 512)
    for window, frame in zip(all_windows, together, strict=True):
        assert np.abs(maker.frames([window])[0] - frame).max() < 1e-6


@pytest.mark.parametrize("frame", [2, 30, 160, 480, 1_536])
def test_frames_of_other_sizes_join_to_the_same_sound(frame: int) -> None:
    noise = np.random.default_rng(3).integers(-20_000, 20_000, 4_608).astype(np.int16)
    out, reference = heard(noise, frame), heard(noise)
    most = min(len(out), len(reference))
    assert np.abs(out[:most] - reference[:most]).max() < 1e-6


def test_a_frame_that_is_not_whole_at_24_khz_is_refused() -> None:
    with pytest.raises(ValueError, match="511"):
        FrameMaker(511)


def test_full_scale_stays_full_scale() -> None:
    out = heard(np.full(24_000, -32_768, np.int16))
    assert np.abs(out[16:] + 1).max() < 0.01
