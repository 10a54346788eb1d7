"""`parley say` and `parley listen`, with the real engines of the default pipeline."""

import io
import os
import re
import signal
import threading

import numpy as np
import pytest

from pipeline.audio import slices
from server.cli import main
from server.cli.loudness import level_db
from server.cli.wav import read_wav, write_wav
from tests.cli.fake_server import silence


def test_what_is_said_into_a_file_is_understood_again(tmp_path, capsys):
    path = tmp_path / "hello.wav"
    assert main(["say", "seven of clubs", "--voice", "en-us+klatt4", "--out", str(path)]) == 0
    said = capsys.readouterr().out
    assert re.search(r"^first audio +\d+ ms$", said, re.M)
    assert re.search(r"^all of it +\d+ ms for [\d.]+ s of sound$", said, re.M)
    samples, rate = read_wav(path)
    assert rate == 24_000
    assert 0.5 < len(samples) / rate < 3.0
    assert level_db(samples) > -40

    assert main(["listen", str(path)]) == 0
    heard = capsys.readouterr()
    assert "seven" in heard.out.split()
    assert re.search(r"^\d+ ms for [\d.]+ s of sound$", heard.err, re.M)


def test_speed_makes_it_shorter(tmp_path):
    lengths = {}
    for speed in ("1.0", "2.0"):
        path = tmp_path / f"{speed}.wav"
        assert main(["say", "Good morning, how are you?", "--speed", speed, "--out", str(path)]) == 0
        lengths[speed] = len(read_wav(path)[0])
    assert lengths["2.0"] < 0.7 * lengths["1.0"]


def test_a_name_of_models_yaml_is_a_voice(tmp_path):
    assert main(["say", "Hello.", "--voice", "coral", "--out", str(tmp_path / "a.wav")]) == 0


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--voice", "alois"], "Did you mean `alloy`?"),
        (["--speed", "9"], "speeds from"),
        (["--model", "nope"], "nope"),
        (["--config", "nowhere.yaml"], "nowhere.yaml"),
    ],
)
def test_a_wrong_option_is_named_with_what_there_is(tmp_path, capsys, argv, says):
    assert main(["say", "Hello.", "--out", str(tmp_path / "a.wav"), *argv]) == 2
    assert says in capsys.readouterr().err
    assert not (tmp_path / "a.wav").exists()


def test_the_engine_is_closed_in_the_end_whatever_happens(tmp_path, monkeypatch):
    closed = []

    def close(engine):
        closed.append(engine)

    monkeypatch.setattr("pipeline.tts.espeak_ng.EspeakNg.close", close)
    assert main(["say", "Hello.", "--out", str(tmp_path / "a.wav")]) == 0
    assert main(["say", "Hello.", "--out", str(tmp_path / "a.wav"), "--speed", "9"]) == 2
    assert len(closed) == 2


def test_no_words_are_nothing_to_say(capsys):
    assert main(["say", "  "]) == 2
    assert "nothing to say" in capsys.readouterr().err


def test_silence_is_not_understood(tmp_path, capsys):
    write_wav(tmp_path / "silent.wav", silence(1.0), 24_000)
    assert main(["listen", str(tmp_path / "silent.wav")]) == 1
    assert "Nothing was understood" in capsys.readouterr().err


# --- with devices ---


class FakeSpeaker:
    """Plays a hundred times as fast as a real one."""

    rate = 48_000
    latency_s = 0.0

    def start(self, fill, ended):
        self.heard, self.closed = [], threading.Event()

        def play():
            while not self.closed.wait(0.0001):
                self.heard.append(fill(480))

        self.thread = threading.Thread(target=play)
        self.thread.start()

    def close(self):
        self.closed.set()
        self.thread.join()


class FakeMicrophone:
    """Delivers a recording at once and then calls `then`."""

    def __init__(self, samples, rate, then):
        self.samples, self.rate, self.then = samples, rate, then
        self.closed = False

    def start(self, deliver, ended):
        for block in slices(self.samples, self.rate // 50):
            deliver(block)
        self.then(ended)

    def close(self):
        self.closed = True


def test_without_a_file_all_of_it_is_played(monkeypatch, capsys):
    speaker = FakeSpeaker()
    monkeypatch.setattr("server.cli.say.open_speaker", lambda: speaker)
    assert main(["say", "Good morning."]) == 0
    seconds = float(re.search(r"for ([\d.]+) s of sound", capsys.readouterr().out)[1])
    heard = np.concatenate(speaker.heard)
    assert len(np.trim_zeros(heard)) / speaker.rate > 0.5 * seconds
    assert speaker.closed.is_set()


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    path = tmp_path_factory.mktemp("say") / "spoken.wav"
    assert main(["say", "seven of clubs", "--voice", "en-us+klatt4", "--out", str(path)]) == 0
    return read_wav(path)


def test_ctrl_c_ends_listening_and_what_was_heard_is_told(monkeypatch, capsys, spoken):
    microphone = FakeMicrophone(*spoken, then=lambda ended: os.kill(os.getpid(), signal.SIGINT))
    monkeypatch.setattr("server.cli.listen.open_microphone", lambda: microphone)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    before = signal.getsignal(signal.SIGINT)
    assert main(["listen"]) == 0
    assert "seven" in capsys.readouterr().out.split()
    assert microphone.closed
    assert signal.getsignal(signal.SIGINT) is before


def test_enter_ends_listening(monkeypatch, capsys, spoken):
    read, write = os.pipe()
    with os.fdopen(read) as keyboard, os.fdopen(write, "w") as fingers:
        monkeypatch.setattr("sys.stdin", keyboard)
        microphone = FakeMicrophone(*spoken, then=lambda ended: print(file=fingers, flush=True))
        monkeypatch.setattr("server.cli.listen.open_microphone", lambda: microphone)
        assert main(["listen"]) == 0
        assert "seven" in capsys.readouterr().out.split()


def test_a_microphone_that_goes_away_is_a_failure_after_what_was_heard(monkeypatch, capsys, spoken):
    microphone = FakeMicrophone(*spoken, then=lambda ended: ended())
    monkeypatch.setattr("server.cli.listen.open_microphone", lambda: microphone)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert main(["listen"]) == 1
    captured = capsys.readouterr()
    assert "seven" in captured.out.split()
    assert "gone away" in captured.err
