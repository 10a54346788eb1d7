"""`parley serve`: what is wrong is said before it listens, and before anything heavy is loaded where that can be."""

import socket
from pathlib import Path

import pytest

from server.cli import main

CONFIG = """
default: mini
models:
  mini:
    vad: {engine: silero}
    transcription: {engine: pocketsphinx}
    llm: {engine: llama-cpp, model: builtin}
    tts: {engine: espeak-ng, voice: en-us}
voices: {alloy: nope}
"""


@pytest.mark.parametrize("option", ["--port", "--webrtc-port"])
@pytest.mark.parametrize("port", ["99999", "-1", "http"])
def test_a_port_that_is_none_is_refused(option: str, port: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["serve", option, port])
    assert ended.value.code == 2
    assert "port" in capsys.readouterr().err


def test_a_taken_port_is_known_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        assert main(["serve", "--port", str(other.getsockname()[1])]) != 0
    said = capsys.readouterr()
    assert "Is another Parley running?" in said.err
    assert "to load" not in said.out


def test_a_voice_that_leads_nowhere_stops_the_start(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models = tmp_path / "models.yaml"
    models.write_text(CONFIG)
    assert main(["serve", "--port", "0", "--config", str(models)]) == 2
    assert "voices.alloy" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--tls", "--cert", "x", "--key", "y"], "--tls makes a certificate"),
        (["--cert", "x"], "--cert goes with --key"),
        (["--key", "x"], "--key goes with --cert"),
        (["--cert", "nowhere.pem", "--key", "nowhere.pem"], "--cert nowhere.pem cannot be read"),
        (["--api-key", ""], "is empty"),
        (["--api-key", "two words"], "characters that no header carries"),
        (["--api-key-file", "nowhere"], "--api-key-file nowhere cannot be read"),
        (["--traces", "/dev/null/x"], "--traces"),
        (["--webrtc-address", "localhost"], "--webrtc-address localhost: it is an IP address"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_loaded(
    options: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:  # so that the server would not come up even if it were let
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert main(["serve", "--port", str(taken.getsockname()[1]), *options]) == 2
    told = capsys.readouterr()
    assert said in told.err
    assert told.err.count("\n") == 1
    assert "Loading" not in told.out
    assert "two words" not in told.err
