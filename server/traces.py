"""Traces: what a session's client and the server said to each other, and when, as a file of JSON lines.

For sessions that ask for it (`tracing`), where `parley serve --traces DIR` gives them a folder. A line is one of

    {"at_ms": 0.0, "session": "sess_…", "began": "2026-01-31T12:00:00.000+00:00", "tracing": "auto"}
    {"at_ms": 3.1, "client": {…}}         an event of the client's, when it was taken up
    {"at_ms": 3.4, "server": {…}}         an event of the server's, when it was made
    {"at_ms": 90000.0, "ended": "…"}      why nothing more follows

with milliseconds since the session began. Events are in the machine's words, whichever the client's are. `tracing`
comes again when the session changes it. Sound and images are left out but for their size, and so are the credentials
of tools; keys are in no event. Files are written by one thread, line by line, and a line is there as a whole or not at
all.
"""

import contextlib
import logging
import os
import queue
import re
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec

from pipeline.errors import ParleyError
from server.realtime.client_events import ClientEvent, InputAudioBufferAppend
from server.realtime.mcp_schema import SECRETS as MCP_SECRETS
from server.realtime.schema import Tracing
from server.realtime.server_events import OutputAudioDelta, ServerEvent

log = logging.getLogger(__name__)

MAX_FILE_BYTES = 16 * 1024 * 1024
"""A trace ends when it is as long as this: hours of talk, without its sound."""

MAX_FILES = 1000
"""Traces in the folder; a new one takes the place of the oldest."""

MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Bytes that wait for a slow disk, of all sessions; a trace that comes on top ends."""

_LAST_LINE_BYTES = 256
"""Room that is kept for the line that says that a trace has ended."""

_CLOSING_S = 3.0
"""How long the server's end waits for the disk."""

_NAME: Final = re.compile(r"\d{8}T\d{12}Z-sess_[0-9a-f]+\.jsonl")

_BULKY = frozenset({"audio", "image_url"})
"""Fields that hold sound or an image where they hold a text."""


class Traces:
    """The folder, and the thread that writes into it."""

    def __init__(self, folder: Path) -> None:
        """Makes the folder if there is none.

        Raises:
            ParleyError: it cannot be made, or not be written to.
        """
        self._folder = folder
        _check(folder)
        self._jobs: queue.SimpleQueue[tuple[_File, bytes | None] | None] = queue.SimpleQueue()
        self._waiting = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._work, name="parley-traces", daemon=True)
        self._thread.start()

    def open(self, session_id: str) -> "Trace":
        """Returns the trace of a session that begins now. There is no file before tracing is on."""
        return Trace(self, session_id)

    def file(self, name: str) -> "_File":
        return _File(self._folder / name)

    def write(self, file: "_File", line: bytes) -> bool:
        """Queues a line; False when the disk is so far behind that it is not."""
        with self._lock:
            if self._waiting + len(line) > MAX_WAITING_BYTES:
                return False
            self._waiting += len(line)
        self._jobs.put((file, line))
        return True

    def end(self, file: "_File") -> None:
        """Queues the end of a file."""
        self._jobs.put((file, None))

    def close(self) -> None:
        """Waits until what was queued is written."""
        self._jobs.put(None)
        self._thread.join(_CLOSING_S)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            file, line = job
            if line is None:
                file.close()
                continue
            if file.is_new:
                _make_room(self._folder)
            file.append(line)
            with self._lock:
                self._waiting -= len(line)


class Trace:
    """The trace of one session."""

    def __init__(self, traces: Traces, session_id: str) -> None:
        self._traces = traces
        self._session_id = session_id
        self._began = time.monotonic()
        self._date = datetime.now(UTC)
        self._file: _File | None = None
        self._tracing: Tracing | None = None
        self._bytes = 0
        self._ended = False

    def follow(self, tracing: Tracing | None) -> None:
        """Takes the session's `tracing` as it is now: what comes from now on is written down, or not."""
        if tracing == self._tracing:
            return
        self._tracing = tracing
        config = msgspec.to_builtins(tracing)
        if self._file is None:
            self._file = self._traces.file(f"{self._date:%Y%m%dT%H%M%S%f}Z-{self._session_id}.jsonl")
            began = self._date.isoformat(timespec="milliseconds")
            self._write({"session": self._session_id, "began": began, "tracing": config})
        else:
            self._write({"tracing": config})

    def client(self, event: ClientEvent) -> None:
        """Writes down what the client said."""
        if self._tracing is not None:
            self._write({"client": _without_bulk(event)})

    def server(self, event: ServerEvent) -> None:
        """Writes down what the server said."""
        if self._tracing is not None:
            self._write({"server": _without_bulk(event)})

    def close(self) -> None:
        """Notes that the session has ended."""
        self._end("the session ended")

    def _write(self, what: dict[str, Any]) -> None:
        if self._file is None or self._ended:
            return
        line = self._line(what)
        if self._bytes + len(line) + _LAST_LINE_BYTES > MAX_FILE_BYTES:
            self._end(f"the trace has reached {MAX_FILE_BYTES} bytes")
        elif self._traces.write(self._file, line):
            self._bytes += len(line)
        else:
            self._end("the disk was too slow")

    def _end(self, why: str) -> None:
        if self._file is not None and not self._ended:
            self._ended = True
            self._traces.write(self._file, self._line({"ended": why}))
            self._traces.end(self._file)

    def _line(self, what: dict[str, Any]) -> bytes:
        at_ms = round(1000 * (time.monotonic() - self._began), 1)
        return msgspec.json.encode({"at_ms": at_ms, **what}) + b"\n"


class _File:
    """A file of lines, of which none is ever there in part. Used by the writing thread alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._size = 0
        self.is_new = True

    def append(self, line: bytes) -> None:
        """Writes a line. When that fails the file stays as it was, and so it does from then on."""
        try:
            if self.is_new:
                self.is_new = False
                self._descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            if self._descriptor is None:
                return
            if os.write(self._descriptor, line) < len(line):
                raise OSError("the disk is full")
            self._size += len(line)
        except OSError as error:
            log.error("the trace %s ends here: %s", self._path, error)
            self._give_up()

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _give_up(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
        self.close()


def _check(folder: Path) -> None:
    probe = folder / f".parley-{os.getpid()}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(probe, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        probe.unlink()
    except OSError as error:
        raise ParleyError(
            f"Traces cannot be written to {folder}: {error.strerror or error}. Name another folder with --traces."
        ) from error


def _make_room(folder: Path) -> None:
    """Removes the oldest traces, so that one more fits. Other files are left alone."""
    try:
        traces = sorted(entry.name for entry in os.scandir(folder) if _NAME.fullmatch(entry.name))
        for name in traces[: len(traces) - MAX_FILES + 1]:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        log.error("old traces in %s cannot be removed: %s", folder, error)


def _without_bulk(event: ClientEvent | ServerEvent) -> Any:
    match event:
        case InputAudioBufferAppend():
            return {"type": "input_audio_buffer.append", "event_id": event.event_id, "audio": _left_out(event.audio)}
        case OutputAudioDelta():
            sound = _left_out(event.delta)
            event = msgspec.structs.replace(event, delta=b"")
            return {**msgspec.to_builtins(event), "delta": sound}
    try:
        return _bare(msgspec.to_builtins(event, builtin_types=(bytes,)))
    except RecursionError:
        return {"type": str(event.__struct_config__.tag), "left_out": "it is nested too deeply"}


def _bare(value: Any) -> Any:
    match value:
        case bytes():
            return _left_out(value)
        case dict():
            hidden = MCP_SECRETS if value.get("type") == "mcp" else frozenset()
            return {key: "(left out)" if key in hidden else _field(key, each) for key, each in value.items()}
        case list():
            return [_bare(each) for each in value]
        case _:
            return value


def _field(key: str, value: Any) -> Any:
    return f"({len(value)} characters)" if key in _BULKY and isinstance(value, str) else _bare(value)


def _left_out(sound: bytes) -> str:
    return f"({len(sound)} bytes)"
