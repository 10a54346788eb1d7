"""The one thread that owns llama.cpp's context, and how others ask it for replies."""

import logging
import threading
from queue import Empty, SimpleQueue
from typing import TypeAlias

from pipeline.errors import StageError
from pipeline.llm.llama_ahead import Prefill
from pipeline.llm.llama_batcher import Batcher, Job
from pipeline.llm.llama_memory import Memory
from pipeline.llm.llama_native import MAX_ROWS, Cache, Context, Model

log = logging.getLogger(__name__)

_CLOSED = "The language model has been shut down."


class _Release:
    """Posted when a session's stream is closed."""

    def __init__(self, owner: object) -> None:
        self.owner = owner


class _Close:
    """Posted to end the owner."""


_Mail: TypeAlias = Job | Prefill | _Release | _Close


class Scheduler:
    """Makes replies on a thread of its own. If that thread dies, its jobs fail and the next one starts another."""

    def __init__(
        self,
        model: Model,
        *,
        context: int,
        sequences: int,
        threads: int,
        cache: Cache,
        parking: int,
        rows: int = MAX_ROWS,
    ) -> None:
        """Makes the context and starts the thread. `parking` is in bytes, see `Memory`; `rows` is the most rows of an
        image in one decode.

        Raises:
            NativeError: llama.cpp cannot make the context.
        """
        self._model = model
        self._context = context
        self._sequences = sequences
        self._threads = threads
        self._cache = cache
        self._parking = parking
        self._rows = rows
        self._lock = threading.Lock()
        self._closed = False
        self._owner = self._hire()

    def submit(self, job: Job) -> None:
        """Queues a job.

        Raises:
            StageError: the model has been shut down, or cannot be started again after a failure.
        """
        with self._lock:
            if self._closed:
                raise StageError("llm", _CLOSED)
            if self._owner.dead:
                self._owner.join()
                try:
                    self._owner = self._hire()
                except Exception as error:
                    raise StageError("llm", f"The language model failed and does not start again: {error}") from error
            self._owner.post(job)

    def prefill(self, prefill: Prefill) -> None:
        """Has the beginning of a prompt computed when there is time, if the model runs."""
        self._owner.post(prefill)

    def release(self, owner: object) -> None:
        """Stops an owner's jobs and frees the owner's sequences, within a step."""
        self._owner.post(_Release(owner))

    def close(self) -> None:
        """Fails what is under way and ends the thread."""
        with self._lock:
            self._closed = True
            self._owner.post(_Close())
        self._owner.join()

    def _hire(self) -> "_Owner":
        context = Context(
            self._model,
            context=self._context,
            sequences=self._sequences,
            threads=self._threads,
            cache=self._cache,
            rows=self._rows,
        )
        memory = Memory(context, self._sequences, parking=self._parking)
        return _Owner(context, Batcher(context, self._model.vocabulary, memory))


class _Owner:
    """The thread, from the making of its context to its end."""

    def __init__(self, context: Context, batcher: Batcher) -> None:
        self._context = context
        self._batcher = batcher
        self._inbox: SimpleQueue[_Mail] = SimpleQueue()
        self._lock = threading.Lock()
        self.dead = False
        self._thread = threading.Thread(target=self._run, name="parley-llama", daemon=True)
        self._thread.start()

    def post(self, mail: _Mail) -> None:
        with self._lock:
            if not self.dead:
                self._inbox.put(mail)
                return
        if isinstance(mail, Job):
            mail.outputs.put(StageError("llm", _CLOSED))

    def join(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        problem = _CLOSED
        try:
            while self._read_mail():
                self._batcher.step()
        except BaseException as error:
            log.exception("the thread of the language model died")
            problem = f"The language model failed: {type(error).__name__}: {error}"
        finally:
            self._leave(problem)

    def _read_mail(self) -> bool:
        """Acts on all that has been posted; waits for something when there is nothing to do. False: to close."""
        block = not self._batcher.busy
        while True:
            try:
                mail = self._inbox.get(block)
            except Empty:
                return True
            match mail:
                case Job():
                    self._batcher.add(mail)
                case Prefill():
                    self._batcher.prefill(mail)
                case _Release(owner=owner):
                    self._batcher.release(owner)
                case _Close():
                    return False
            block = False

    def _leave(self, problem: str) -> None:
        """Fails every job, those in the mail too, and frees the context."""
        with self._lock:
            self.dead = True
        while not self._inbox.empty():
            mail = self._inbox.get()
            if isinstance(mail, Job):
                self._batcher.add(mail)
        self._batcher.fail(problem)
        self._context.close()
