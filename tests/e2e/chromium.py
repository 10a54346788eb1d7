"""A browser for tests of the console: the machine's own Chromium, with a file for a microphone."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from server.cli.wav import write_wav
from tests.speech import silence

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

RATE = 48_000
"""Of the microphone: what Chromium's own audio runs at, so that nothing is resampled on the way to the page."""


def executable() -> str:
    """Returns where Chromium is; skips the test where there is none."""
    found = next((path for name in NAMES if (path := shutil.which(name)) is not None), None)
    if found is None:
        pytest.skip(f"the console is tested with Chromium, and there is none here ({', '.join(NAMES)})")
    return found


ELSEWHERE = "console.internal"
"""A name by which these browsers find this machine. Pages from there are trusted with no microphone."""


@contextlib.contextmanager
def chromium(microphone: Path | None = None) -> Iterator[Any]:
    """Starts Chromium. Each page that opens the microphone hears the file from its beginning, once, then silence."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the console is tested with playwright")
    path = executable()
    options = [
        "--use-fake-device-for-media-stream",
        *([f"--use-file-for-fake-audio-capture={microphone}%noloop"] if microphone is not None else []),
        f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
        "--autoplay-policy=user-gesture-required",
        "--disable-background-networking",
    ]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=options)
        try:
            yield browser
        finally:
            browser.close()


def write_microphone(path: Path, *parts: Any) -> Path:
    """Writes what the microphone hears: int16 at `RATE` one after the other, and a quiet room for a minute after."""
    import numpy as np

    write_wav(path, np.concatenate([*parts, silence(60.0, RATE)]), RATE)
    return path
