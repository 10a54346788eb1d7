"""Recordings: what is read, what is refused, and that a file is whole whenever it is there."""

import struct
import wave

import numpy as np
import pytest

from pipeline.errors import ParleyError
from server.cli.loudness import end_of_speech, level_db
from server.cli.wav import BadRecordingError, check_writable, read_wav, resampled, write_wav
from tests.cli.fake_server import silence, tone

RAMP = np.array([0, 256, -256, 32512, -32768], np.int16)


def make(path, data, *, width=2, channels=1, rate=8000):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(data)
    return path


@pytest.mark.parametrize(
    ("width", "encode"),
    [
        (1, lambda ramp: ((ramp >> 8) + 128).astype(np.uint8).tobytes()),
        (2, lambda ramp: ramp.astype("<i2").tobytes()),
        (3, lambda ramp: b"".join(struct.pack("<i", int(x) << 8)[:3] for x in ramp)),
        (4, lambda ramp: (ramp.astype("<i4") << 16).tobytes()),
    ],
)
def test_every_width_of_pcm_is_read_exactly(tmp_path, width, encode):
    samples, rate = read_wav(make(tmp_path / "a.wav", encode(RAMP), width=width))
    assert samples.tolist() == RAMP.tolist()
    assert rate == 8000


def test_channels_are_mixed_into_one(tmp_path):
    stereo = np.array([[100, 300], [-100, 100]], np.int16)
    samples, _ = read_wav(make(tmp_path / "a.wav", stereo.tobytes(), channels=2))
    assert samples.tolist() == [200, 0]


@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 44_100, 48_000])
def test_a_recording_keeps_its_length_and_loudness_at_another_rate(rate):
    sound = resampled(tone(1.0, rate=rate, level=8000), rate, 24_000)
    assert len(sound) == 24_000
    assert level_db(sound) == pytest.approx(level_db(tone(1.0)), abs=0.2)


def broken_float(path):
    """A WAV of floats, which the standard library does not read."""
    data = np.zeros(10, "<f4").tobytes()
    fmt = struct.pack("<HHIIHH", 3, 1, 8000, 32_000, 4, 32)
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + b"data" + struct.pack("<I", len(data)) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda path: path.write_text("# A text, not a sound\n"), "ffmpeg"),
        (lambda path: path.write_bytes(b""), "ffmpeg"),
        (broken_float, "ffmpeg"),
        (lambda path: make(path, b""), "holds no sound"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: None, "cannot be read"),
    ],
)
def test_what_is_no_recording_is_refused_with_what_helps(tmp_path, spoil, says):
    path = tmp_path / "question.wav"
    spoil(path)
    with pytest.raises(BadRecordingError, match=says) as error:
        read_wav(path)
    assert "question.wav" in str(error.value)


def test_a_recording_that_was_cut_off_is_read_as_far_as_it_goes(tmp_path):
    path = make(tmp_path / "a.wav", RAMP.tobytes())
    path.write_bytes(path.read_bytes()[:-3])
    assert read_wav(path)[0].tolist() == RAMP[:3].tolist()


def test_what_is_written_is_read_again_and_nothing_else_is_left(tmp_path):
    path = tmp_path / "answer.wav"
    path.write_text("an older answer")
    write_wav(path, RAMP, 24_000)
    samples, rate = read_wav(path)
    assert (samples.tolist(), rate) == (RAMP.tolist(), 24_000)
    assert [file.name for file in tmp_path.iterdir()] == ["answer.wav"]


def test_a_failed_write_leaves_the_older_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "answer.wav"
    write_wav(path, RAMP, 24_000)
    before = path.read_bytes()

    def full(self, data):
        with self.open("wb") as file:
            file.write(data[:10])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(ParleyError, match="No space left"):
        write_wav(path, tone(1.0), 24_000)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["answer.wav"]


def test_a_place_that_cannot_be_written_to_is_known_before_the_work(tmp_path):
    with pytest.raises(ParleyError, match="folder"):
        check_writable(tmp_path / "missing" / "answer.wav")
    with pytest.raises(ParleyError, match="folder"):
        check_writable(tmp_path)


def test_the_end_of_speech_is_where_the_energy_ends_to_10_ms():
    noise = np.random.default_rng(0).normal(0, 30, 48_000).astype(np.int16)
    sound = noise.copy()
    sound[12_000:30_000] += tone(0.75)
    assert end_of_speech(sound, 24_000, 10_000, 48_000) == pytest.approx(30_000, abs=240)


def test_the_quiet_echo_of_a_word_is_not_its_end():
    sound = np.concatenate([silence(0.5), tone(0.5, level=8000), tone(0.5, level=80), silence(0.5)])
    assert end_of_speech(sound, 24_000, 10_000, 48_000) == pytest.approx(24_000, abs=240)


def test_the_end_of_speech_is_the_one_of_its_own_utterance():
    sound = np.concatenate([tone(0.5), silence(1.0), tone(0.5), silence(0.5)])
    assert end_of_speech(sound, 24_000, 0, 24_000) == pytest.approx(12_000, abs=240)
    assert end_of_speech(sound, 24_000, 30_000, 60_000) == pytest.approx(48_000, abs=240)


def test_an_utterance_that_ends_after_the_recording_ends_with_it():
    assert end_of_speech(tone(0.5), 24_000, 0, 24_000) == 12_000
    assert end_of_speech(tone(0.5), 24_000, 20_000, 24_000) == 12_000
