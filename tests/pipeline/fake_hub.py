"""As much of the Hugging Face hub's HTTP interface as downloading needs, on loopback."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "1234567890abcdef1234567890abcdef12345678"

Answer = Callable[["_Handler"], None]


@dataclass
class FakeHub:
    """A hub with one repository. What is set here counts for the next request.

    `large` are the files that a real hub keeps by their SHA-256, `small` those in git itself. `requests` are what was
    asked, such as "GET /cdn/…", and `tokens` the hosts and the access tokens that they were shown.
    """

    url: str = ""
    repository: str = "some/model"
    commit: str = COMMIT
    small: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    damaged: bool = False
    refuses: tuple[int, str] | None = None
    """Status and `X-Error-Code` of the answer to everything."""
    breaks_after: int | None = None
    """Bytes of a large file after which the connection ends, once."""
    hangs: threading.Event | None = None
    """Until this is set, nothing is answered."""
    requests: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    agents: set[str] = field(default_factory=set)

    def downloads(self) -> list[str]:
        """The names of the files whose content was asked for, in order."""
        by_hash = {hashlib.sha256(content).hexdigest(): name for name, content in self.large.items()}
        names = []
        for request in self.requests:
            method, path = request.split()[:2]
            if method == "GET" and not path.startswith("/api/"):
                last = path.partition(f"/resolve/{self.commit}/")[2] or path.partition("/resolve/main/")[2]
                names.append(by_hash.get(path.rpartition("/")[2], last))
        return names

    @property
    def files(self) -> Mapping[str, bytes]:
        return {**self.small, **self.large}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    hub: FakeHub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_args: object) -> None:
        """Says nothing."""

    def _answer(self) -> None:
        hub = self.server.hub
        path = self.path.partition("?")[0]
        span = self.headers.get("Range")
        hub.requests.append(f"{self.command} {path}{f' {span}' if span else ''}")
        hub.agents.add(self.headers.get("User-Agent", ""))
        if self.headers.get("Authorization"):
            hub.tokens.add(f"{self.headers['Host'].partition(':')[0]} {self.headers['Authorization']}")
        if hub.hangs is not None:
            hub.hangs.wait(60)
        if hub.refuses is not None:
            return self._send(hub.refuses[0], {"X-Error-Code": hub.refuses[1]})
        if path.startswith("/cdn/"):
            return self._large(path.rpartition("/")[2], span)
        if path.startswith("/api/models/"):
            return self._list(path.removeprefix("/api/models/"))
        return self._resolve(path)

    def _list(self, path: str) -> None:
        hub = self.server.hub
        repository, _, revision = path.partition("/revision/")
        if not self._known(repository, revision or "main"):
            return
        siblings = [{"rfilename": name} for name in hub.files]
        body = json.dumps({"id": hub.repository, "sha": hub.commit, "siblings": siblings}).encode()
        self._send(200, {"Content-Type": "application/json"}, body)

    def _resolve(self, path: str) -> None:
        hub = self.server.hub
        match = re.fullmatch(r"/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", path)
        if match is None:
            return self._send(404, {})
        if not self._known(match["repository"], match["revision"]):
            return
        name, commit = match["file"], {"X-Repo-Commit": hub.commit}
        if name in hub.small:
            content = hub.small[name]
            self._send(200, commit | {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}, content)
        elif name in hub.large:
            content = hub.large[name]
            digest = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            # Large files come from another host, which is shown no access token.
            elsewhere = hub.url.replace("127.0.0.1", "localhost")
            self._send(302, commit | linked | {"Location": f"{elsewhere}/cdn/{digest}"})
        else:
            self._send(404, commit | {"X-Error-Code": "EntryNotFound"})

    def _large(self, digest: str, span: str | None) -> None:
        hub = self.server.hub
        (content,) = (each for each in hub.large.values() if hashlib.sha256(each).hexdigest() == digest)
        if hub.damaged:
            content = content[:-1] + bytes([content[-1] ^ 1])
        start = int(span.removeprefix("bytes=").partition("-")[0]) if span else 0
        where = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"} if span else {}
        cut, hub.breaks_after = hub.breaks_after, None
        self._send(206 if span else 200, where, content[start:], cut)

    def _known(self, repository: str, revision: str) -> bool:
        hub = self.server.hub
        if repository != hub.repository:
            self._send(401 if "authorization" not in self.headers else 404, {"X-Error-Code": "RepoNotFound"})
        elif revision not in {"main", hub.commit}:
            self._send(404, {"X-Error-Code": "RevisionNotFound"})
        else:
            return True
        return False

    def _send(self, status: int, headers: Mapping[str, str], body: bytes = b"", cut: int | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[:cut])
        if cut is not None:
            self.close_connection = True


@contextmanager
def running(hub: FakeHub) -> Iterator[FakeHub]:
    """Serves the hub at `hub.url`."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.hub = hub
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
