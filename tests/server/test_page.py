"""The console's files over HTTP, and which pages may use the server."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from multidict import CIMultiDict

from server.origins import foreign
from server.page import FOLDER
from tests.pipeline.packages import Packages, packages
from tests.server.test_doors import OWN, Doors, doors

__all__ = ["packages"]

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture(params=[None, OWN], ids=["open", "with a key"])
async def any_(request: pytest.FixtureRequest, tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages, request.param) as those:
        yield those


@pytest.fixture
async def open_(tmp_path: Path, packages: Packages) -> AsyncIterator[Doors]:
    async with doors(tmp_path, packages) as those:
        yield those


async def test_the_page_is_shown_to_everybody_under_a_strict_policy(any_: Doors) -> None:
    async with any_.client.get("/", headers=BROWSER) as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        assert answer.charset == "utf-8"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "://" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "no-cache" in answer.headers["Cache-Control"]


async def test_every_file_that_the_page_names_is_there_and_has_its_type(any_: Doors) -> None:
    async with any_.client.get("/", headers=BROWSER) as answer:
        page = await answer.text()
    named = set(re.findall(r'(?:href|src)="(/console/[^"]+)"', page))
    assert "/console/main.js" in named
    for path in sorted(named | {f"/console/{file.name}" for file in FOLDER.glob("*.js")}):
        async with any_.client.get(path) as answer:
            assert answer.status == 200, path
            kinds = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
            assert answer.content_type == kinds[Path(path).suffix]


async def test_a_file_that_has_not_changed_is_not_sent_again(open_: Doors) -> None:
    async with open_.client.get("/console/main.js") as answer:
        tag = answer.headers["ETag"]
    async with open_.client.get("/console/main.js", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
        assert await answer.read() == b""
    async with open_.client.get("/console/main.js", headers={"If-None-Match": '"older"'}) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/console/", "/console/../app.py", "/console/%2e%2e/app.py", "/console/nothing.js"])
async def test_nothing_else_is_served(open_: Doors, path: str) -> None:
    async with open_.client.get(path) as answer:
        assert answer.status == 404


async def test_whoever_wants_no_page_is_told_where_they_are(open_: Doors) -> None:
    async with open_.client.get("/") as answer:
        assert "/v1/realtime" in await answer.text()
        assert answer.content_type == "text/plain"


def test_the_page_loads_nothing_from_elsewhere() -> None:
    for file in FOLDER.iterdir():
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        found = re.findall(r"https?://(?!localhost)[^\s\"'`)]+", text)
        assert not found, f"{file.name}: {found}"
        assert "innerHTML" not in text


# --- which pages may come ---

HERE = "http://127.0.0.1:8765"


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        (HERE, HERE),
        ("http://localhost:3000", HERE),
        ("http://[::1]:8765", "http://[::1]:8765"),
        ("https://192.168.1.5:8765", "https://192.168.1.5:8765"),
        ("http://nas:8765", "http://nas:8765"),
        ("http://nas.local:8765", "http://nas.local:8765"),
    ],
)
def test_pages_of_this_machine_and_this_server_may_come(origin: str, own: str) -> None:
    assert foreign(CIMultiDict({"Origin": origin}), own) is None


@pytest.mark.parametrize(
    ("origin", "own"),
    [
        ("https://elsewhere.example", HERE),
        ("http://rebound.example:8765", "http://rebound.example:8765"),
        ("http://127.0.0.1.elsewhere.example", HERE),
        ("http://nas:8765", HERE),
        ("null", HERE),
        ("http://[broken", HERE),
        ("", HERE),
    ],
)
def test_pages_of_others_may_not_even_under_a_name_that_leads_here(origin: str, own: str) -> None:
    assert foreign(CIMultiDict({"Origin": origin}), own) == origin


def test_a_rebound_page_cannot_read_either_and_programs_may_call_the_server_what_they_like() -> None:
    rebound = "http://rebound.example:8765"
    assert foreign(CIMultiDict({"User-Agent": "Mozilla/5.0"}), rebound) == rebound
    assert foreign(CIMultiDict({"User-Agent": "Mozilla/5.0"}), HERE) is None
    assert foreign(CIMultiDict({"User-Agent": "AsyncOpenAI/Python"}), rebound) is None


async def test_a_rebound_page_is_turned_away_at_the_door(open_: Doors) -> None:
    host = f"rebound.example:{open_.client.port}"
    status, error = await open_.refused(headers={"Host": host, "Origin": f"http://{host}"})
    assert (status, error["code"]) == (403, "origin_not_allowed")
    await open_.begin(headers={"Host": host})  # no browser
