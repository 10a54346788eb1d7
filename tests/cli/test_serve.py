"""`parley serve`: what is wrong is said before it listens, and before anything heavy is loaded where that can be."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from server.cli import main
from server.cli.door_options import Doors
from server.cli.serve import console_url

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


# --- --open ---


@pytest.fixture
def browser_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment names a browser, which writes down what it was given."""
    visited, program = tmp_path / "visited", tmp_path / "browser"
    program.write_text(f'#!/bin/sh\necho "$1" > "{visited}"\n')
    program.chmod(0o755)
    monkeypatch.setenv("BROWSER", f"{program} %s")
    return visited


def opened(url: str) -> tuple[bool, str]:
    """Opens a page in a process of its own: `webbrowser` looks for browsers once."""
    script = f"import asyncio; from server.cli.browser import open_page; print(asyncio.run(open_page({url!r})))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True)
    return done.stdout.strip() == "True", done.stderr


def test_the_page_is_opened_in_the_browser_that_the_environment_names(browser_named: Path) -> None:
    assert opened("http://127.0.0.1:8765/") == (True, "")
    assert browser_named.read_text() == "http://127.0.0.1:8765/\n"


def test_where_there_is_no_browser_none_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BROWSER", "DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert opened("http://127.0.0.1:8765/") == (False, "")


@pytest.mark.parametrize(
    ("host", "page"),
    [
        ("127.0.0.1", "http://127.0.0.1:80/"),
        ("0.0.0.0", "http://localhost:80/"),
        ("::", "http://localhost:80/"),
        ("::1", "http://[::1]:80/"),
        ("nas.local", "http://nas.local:80/"),
    ],
)
def test_the_page_has_an_address_that_a_browser_can_go_to(host: str, page: str) -> None:
    assert console_url(host, 80, Doors(None, None)) == page
