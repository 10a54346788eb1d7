"""Tells when Enter is pressed."""

import contextlib
import sys
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def on_enter(pressed: Callable[[], None]) -> Iterator[None]:
    """Calls `pressed`, on a thread of its own, for every line of the standard input.

    On a terminal that can, what is typed is not shown meanwhile: it would spoil what is drawn there.
    """
    with _unseen():
        threading.Thread(target=_read, args=(pressed,), name="parley-enter", daemon=True).start()
        yield


def _read(pressed: Callable[[], None]) -> None:
    # A read of the terminal cannot be called off: the thread is a daemon, and ends with the program.
    with contextlib.suppress(ValueError, OSError):
        while sys.stdin.readline():
            pressed()


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
