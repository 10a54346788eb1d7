"""OpenAI's Agents SDK for JavaScript in Chromium, over WebRTC, on a page of another origin."""

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.conformance.brain import SPOKEN, Brain
from tests.conformance.conftest import DRIVERS, HERE
from tests.conformance.environments import AGENTS_NODE, EVERY
from tests.e2e.chromium import NAMES, RATE, write_microphone
from tests.e2e.conftest import Server, python_path, serving
from tests.speech import say, silence
from tests.wire_checker import WireChecker

pytestmark = pytest.mark.timeout(300)

PAGE = '<!doctype html><audio autoplay></audio><script type="module" src="/agents_webrtc.js"></script>'
WAIT_MS = 30_000


def chromium_path() -> str:
    found = next((path for name in NAMES if (path := shutil.which(name)) is not None), None)
    if found is None:
        (pytest.fail if os.environ.get(EVERY) else pytest.skip)(f"there is no Chromium here ({', '.join(NAMES)})")
    return str(found)


@pytest.fixture
async def site() -> AsyncIterator[str]:
    """A page of an application, and the SDK."""
    bundle = (await AGENTS_NODE.ready()).folder / "node_modules/@openai/agents-realtime/dist/bundle"
    app = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    async def driver(_: web.Request) -> web.FileResponse:
        return web.FileResponse(DRIVERS / "agents_webrtc.js", headers={"Content-Type": "text/javascript"})

    async def module(request: web.Request) -> web.FileResponse:
        return web.FileResponse(bundle / request.match_info["name"], headers={"Content-Type": "text/javascript"})

    app.router.add_get("/", page)
    app.router.add_get("/agents_webrtc.js", driver)
    app.router.add_get("/bundle/{name}", module)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://localhost:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


@pytest.fixture
async def open_page(site: str, tmp_path: Path) -> AsyncIterator[Any]:
    """The page, open in a Chromium whose microphone says the question, and something else some seconds later."""
    playwright = pytest.importorskip("playwright.async_api", reason="Chromium is driven by playwright")
    path = chromium_path()
    microphone = write_microphone(
        tmp_path / "microphone.wav",
        silence(3.0, RATE),
        say(SPOKEN["question"], RATE),
        silence(12.0, RATE),
        say(SPOKEN["more"], RATE),
    )
    arguments = [
        "--use-fake-ui-for-media-stream",
        "--use-fake-device-for-media-stream",
        f"--use-file-for-fake-audio-capture={microphone}%noloop",
        "--disable-background-networking",
    ]
    async with playwright.async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=path, args=arguments)
        page = await browser.new_page()
        page.set_default_timeout(WAIT_MS)
        await page.goto(site)
        await page.wait_for_function("window.ready")
        yield page
        await browser.close()


async def test_a_conversation_in_a_page(open_page: Any, tmp_path: Path) -> None:
    with Brain() as brain:
        environment = {"PYTHONPATH": python_path(), "PARLEY_TEST_BRAIN": brain.base_url}
        with serving(HERE / "models.yaml", [], tmp_path, **environment) as server:
            await converse(open_page, server)
        assert len(brain.story_so_far()) < 60, "the model is told what was played of the story"


async def converse(page: Any, server: Server) -> None:
    call_id = await page.evaluate("url => window.start(url, 'scripted')", f"http://127.0.0.1:{server.port}")
    assert call_id.startswith("rtc_")

    await until(page, "output_audio_buffer.stopped")
    (transcript,) = await of_type(page, "conversation.item.input_audio_transcription.completed")
    assert transcript["transcript"] == SPOKEN["question"]
    heard = await page.evaluate("window.energy()")
    assert heard > 1e-4, "the answer was heard"

    await page.evaluate("window.session.sendMessage('what is the weather')")
    await until(page, "output_audio_buffer.stopped", 2)
    (done,) = (await of_type(page, "response.output_audio_transcript.done"))[1:]
    assert done["transcript"] == "The result is sunny in Paris."

    await page.evaluate("window.session.sendMessage('tell me a story')")
    await until(page, "output_audio_buffer.started", 3)
    await until(page, "output_audio_buffer.cleared")
    await until(page, "output_audio_buffer.started", 4)
    assert (await of_type(page, "conversation.item.truncated"))[0]["audio_end_ms"] > 0
    assert await page.evaluate("window.energy()") > heard

    await page.evaluate("window.session.interrupt()")
    await page.evaluate("window.session.close()")
    assert await page.evaluate("window.problems") == []
    wire = WireChecker(call=True)
    for event in await page.evaluate("window.seen"):
        wire.see(event)


async def of_type(page: Any, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = await page.evaluate("kind => window.seen.filter((each) => each.type === kind)", kind)
    return found


async def until(page: Any, kind: str, count: int = 1) -> None:
    try:
        await page.wait_for_function(
            "([kind, count]) => window.seen.filter((each) => each.type === kind).length >= count", arg=[kind, count]
        )
    except Exception as error:
        seen = await page.evaluate("window.seen.map((each) => each.type)")
        problems = await page.evaluate("window.problems")
        raise AssertionError(f"no {kind} #{count}; came: {seen}; problems: {problems}") from error
