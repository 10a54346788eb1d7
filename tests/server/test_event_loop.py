"""The server runs on the fastest loop that there is here, and on asyncio's where there is no other."""

import asyncio
import sys

import pytest

from server.event_loop import new_event_loop


def kind_of_new_loop() -> str:
    loop = new_event_loop()
    loop.close()
    return type(loop).__module__.partition(".")[0]


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_the_loop_is_uvloops() -> None:
    assert kind_of_new_loop() == "uvloop"


def test_without_uvloop_it_is_asyncios_and_the_log_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with caplog.at_level("INFO"):
        assert kind_of_new_loop() == "asyncio"
    assert "no uvloop" in caplog.text
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        assert runner.run(asyncio.sleep(0, "runs")) == "runs"
