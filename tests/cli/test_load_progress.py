"""What is printed while engines load can be read, whoever else prints."""

import io
import logging

from pipeline.line import LoadFinished, LoadStarted
from server.cli.load_progress import LoadProgress, ProgressHandler

STARTED = LoadStarted("small", "transcription", "faster-whisper")
FINISHED = LoadFinished("small", "transcription", "faster-whisper", 1.5, 0.25, "cuda (NVIDIA H200)")


def test_a_line_tells_how_long_an_engine_took_and_where_it_computes() -> None:
    out = io.StringIO()
    progress = LoadProgress(out)
    progress.report(STARTED)
    assert out.getvalue().rstrip() == "  small: transcription faster-whisper"
    progress.report(FINISHED)
    (line,) = out.getvalue().splitlines()
    assert line.split() == [
        *"small: transcription faster-whisper 1.50 s to load, 0.25 s to warm up, on cuda (NVIDIA H200)".split()
    ]


def test_what_is_logged_meanwhile_has_a_line_of_its_own() -> None:
    out = io.StringIO()
    progress = LoadProgress(out)
    logger = logging.Logger("test")
    logger.addHandler(ProgressHandler(out, progress))
    progress.report(STARTED)
    logger.warning("downloading it")
    progress.report(FINISHED)
    lines = [" ".join(line.split()) for line in out.getvalue().splitlines()]
    assert lines[:2] == ["small: transcription faster-whisper", "downloading it"]
    assert lines[2].startswith("small: transcription faster-whisper 1.50 s")


def test_a_line_that_was_not_ended_is_ended_before_an_error() -> None:
    out = io.StringIO()
    progress = LoadProgress(out)
    progress.report(STARTED)
    progress.end_line()
    progress.end_line()
    assert out.getvalue().endswith("faster-whisper \n")
