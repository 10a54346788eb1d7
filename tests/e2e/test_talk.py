"""`parley talk --in question.wav --out answer.wav`, as a newcomer types it."""

import subprocess
import sys
import wave
from pathlib import Path

import numpy as np

from tests.e2e.client import understood
from tests.e2e.conftest import Server
from tests.speech import utterance


def talk(server: Server, question: Path, answer: Path) -> "subprocess.CompletedProcess[str]":
    parley = Path(sys.executable).with_name("parley")
    url = f"ws://127.0.0.1:{server.port}/v1/realtime"
    command = [str(parley), "talk", "--url", url, "--in", str(question), "--out", str(answer)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_a_question_in_a_file_is_answered_in_a_file_with_both_transcripts_and_timings(
    server: Server, tmp_path: Path
) -> None:
    question, answer = tmp_path / "question.wav", tmp_path / "answer.wav"
    with wave.open(str(question), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(utterance("what is your name").tobytes())
    done = talk(server, question, answer)
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines() if line.strip()]
    heard = next(rest for who, rest in lines if who == "you")
    said = next(rest for who, rest in lines if who == "parley")
    assert understood("what is your name", heard)
    assert "parley" in said.lower()
    for timing in ("speech_stopped", "transcript", "first audio", "response.done"):
        assert timing in done.stdout
    with wave.open(str(answer)) as file:
        assert file.getframerate() == 24_000
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert len(sound) > 12_000
    assert np.abs(sound).max() > 1000
