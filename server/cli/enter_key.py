"""Tells when Enter is pressed."""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_enter(pressed: Callable[[], None]) -> Iterator[None]:
    """Calls `pressed`, on a thread of its own, for every line of the standard input.

    On a terminal that can, what is typed is not shown meanwhile: it would spoil what is drawn there.
    """
    # The thread outlives this: a read of the terminal cannot be called off. It must not hold on to the caller.
    calls = [pressed]
    try:
        with _unseen():
            threading.Thread(target=_read, args=(calls,), name="parley-enter", daemon=True).start()
            yield
    finally:
        calls.clear()


def _read(calls: list[Callable[[], None]]) -> None:
    # It reads past `sys.stdin`, whose lock the thread would take along into the end of the program.
    with contextlib.suppress(ValueError, OSError):
        keyboard = sys.stdin.fileno()
        while typed := os.read(keyboard, 1024):
            for _ in range(typed.count(b"\n")):
                for call in tuple(calls):
                    call()


@contextlib.contextmanager
def _unseen() -> Iterator[None]:
    try:
        import termios
    except ImportError:  # Windows
        yield
        return
    if not sys.stdin.isatty():
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = termios.tcgetattr(terminal)
    quiet[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
