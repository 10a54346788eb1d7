"""What a conversation looks like in the terminal: finished lines above, what is going on now below them.

On a terminal the lower part is redrawn in place; elsewhere (a pipe, a file) only finished lines are printed.
"""

from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

_BAR = 16
_QUIETEST_DB = -60.0
_NAME = 8
"""Columns of the names at the left."""


class View:
    """Use it as a context manager: leaving it restores the terminal, whatever happened."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = ""
        self._level_db: float | None = None
        self._hearing = ""
        self._reply = ""
        self._live = Live(console=console, get_renderable=self._now, refresh_per_second=12, transient=True)

    def __enter__(self) -> "View":
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end_reply()
        self._live.stop()

    def status(self, text: str) -> None:
        """Says what is going on, until it is said again."""
        self._status = text

    def level(self, db: float | None) -> None:
        """Moves the meter, in dB of full scale; None: the microphone is off."""
        self._level_db = db

    def hearing(self, text: str) -> None:
        """Shows what is understood so far of what the user is saying."""
        self._hearing = text

    def heard(self, text: str) -> None:
        """Prints what the user said."""
        self._hearing = ""
        self.line(text, name="you", style="bold cyan")

    def reply(self, text: str) -> None:
        """Adds words to the reply."""
        self._reply += text

    def end_reply(self, note: str = "") -> None:
        """Prints the reply as a finished line. `note` tells what became of it, where it did not end well."""
        text, self._reply = self._reply.strip(), ""
        if text or note:
            self.line(" ".join(part for part in (text, note) if part), name="parley", style="bold green")

    def line(self, text: str, *, name: str = "", style: str = "") -> None:
        """Prints a finished line, with who says it at its left."""
        self._print(Text.assemble((f"{name:<{_NAME}}", style), text))

    def note(self, text: str, style: str = "dim") -> None:
        """Prints a remark."""
        self._print(Text(text, style=style))

    def _print(self, text: Text) -> None:
        # Long lines stay whole where somebody else's program reads them.
        self._console.print(text, soft_wrap=not self._console.is_terminal)

    def _now(self) -> Group:
        lines = []
        if self._hearing:
            lines.append(Text.assemble((f"{'you':<{_NAME}}", "cyan"), (f"{self._hearing} …", "dim")))
        if self._reply:
            lines.append(Text.assemble((f"{'parley':<{_NAME}}", "green"), self._reply.strip()))
        lines.append(Text.assemble(_meter(self._level_db), (self._status, "dim")))
        return Group(*lines)


def _meter(db: float | None) -> Text:
    if db is None:
        return Text(" " * _NAME)
    full = round(_BAR * min(max(1.0 - db / _QUIETEST_DB, 0.0), 1.0))
    colour = "red" if db > -3.0 else "yellow" if db > -12.0 else "green"
    return Text.assemble(("▮" * full, colour), ("▯" * (_BAR - full), "dim"), "  ")
