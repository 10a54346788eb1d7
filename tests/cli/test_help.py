"""The command line as a newcomer meets it: help, exit codes, and errors that speak plainly."""

import importlib
import os
import subprocess
import sys
import types

import pytest

from pipeline.errors import ConfigError
from server.cli import VERBS, main
from server.cli.failure import RunFailedError


def replace_verb(monkeypatch, action):
    """Puts `action` in place of what `parley say` does."""
    module = types.ModuleType("server.cli.say")
    module.add_arguments = lambda parser: None
    module.run = action
    monkeypatch.setitem(sys.modules, "server.cli.say", module)


def fail_with(error):
    def action(args):
        raise error

    return action


def test_help_names_every_verb_and_shows_how_to_begin(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--help"])
    assert end.value.code == 0
    said = capsys.readouterr().out
    for verb, what in VERBS.items():
        assert verb in said
        assert what in said
    assert "parley talk --in question.wav --out answer.wav" in said


def test_help_imports_nothing_heavy():
    script = (
        "import sys\nfrom server.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit: pass\n"
        "print(sorted(set(sys.modules) & {'numpy', 'aiohttp', 'rich', 'msgspec', 'llama_cpp', 'asyncio'}))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_is_a_module_that_says_the_same_of_itself(verb, capsys):
    module = importlib.import_module(f"server.cli.{verb}")
    assert (verb, VERBS[verb]) == (module.NAME, module.HELP)
    with pytest.raises(SystemExit) as end:
        main([verb, "--help"])
    assert end.value.code == 0
    assert "usage: parley " + verb in capsys.readouterr().out


def test_version_is_the_installed_one(capsys):
    from importlib.metadata import version

    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"parley {version('parley')}\n"


def test_no_verb_shows_the_help_and_is_an_error(capsys):
    assert main([]) == 2
    assert "first steps" in capsys.readouterr().out


def test_an_unknown_verb_is_an_error_that_lists_the_known_ones(capsys):
    with pytest.raises(SystemExit) as end:
        main(["tlak"])
    assert end.value.code == 2
    assert "talk" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("models.yaml is wrong."), 2), (RunFailedError("It did not work."), 1)]
)
def test_an_error_is_one_plain_line_and_an_exit_code(monkeypatch, capsys, error, code):
    replace_verb(monkeypatch, fail_with(error))
    assert main(["say"]) == code
    assert capsys.readouterr().err == f"parley: {error}\n"


def test_ctrl_c_ends_with_130_and_without_a_traceback(monkeypatch, capsys):
    replace_verb(monkeypatch, fail_with(KeyboardInterrupt()))
    assert main(["say"]) == 130
    assert capsys.readouterr().err == "\n"


def test_a_reader_that_goes_away_is_no_traceback():
    # Closed before anything is written, as `parley --help | head -0` does.
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; from server.cli import main; sys.exit(main(['--help']))"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": ""},
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == ""


@pytest.mark.parametrize(
    ("option", "argv"),
    [
        ("--out", ["--out", "answer.wav"]),
        ("--fast", ["--fast"]),
        ("--headphones", ["--in", "question.wav", "--headphones"]),
        ("--push-to-talk", ["--in", "question.wav", "--push-to-talk"]),
    ],
)
def test_an_option_that_would_mean_nothing_is_refused_by_name(option, argv, capsys):
    assert main(["talk", *argv]) == 2
    assert capsys.readouterr().err.startswith(f"parley: {option} ")


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1/x", "ws://"])
def test_what_is_no_url_of_a_server_is_refused(url, capsys):
    assert main(["talk", "--url", url]) == 2
    assert "ws://127.0.0.1:8765/v1/realtime" in capsys.readouterr().err
