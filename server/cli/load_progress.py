"""What `parley serve` prints while engines load: a line each, begun when it starts and ended when it is ready."""

import logging
from typing import TextIO

from pipeline.line import LoadFinished, LoadStarted, LoadStep


class LoadProgress:
    """Prints the steps to `out`. What others print meanwhile gets lines of its own: see `ProgressHandler`."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._begun = False

    def report(self, step: LoadStep) -> None:
        """Takes the next step."""
        name = f"  {step.line}: {step.stage:13} {step.engine:14} "
        match step:
            case LoadStarted():
                self._out.write(name)
                self._begun = True
            case LoadFinished():
                begun, self._begun = self._begun, False
                end = f"{step.load_s:6.2f} s to load, {step.warm_up_s:.2f} s to warm up, on {step.device}\n"
                self._out.write(end if begun else name + end)
        self._out.flush()

    def end_line(self) -> None:
        """Ends the line that was begun, if one was; it will be written again."""
        if self._begun:
            self._begun = False
            self._out.write("\n")
            self._out.flush()


class ProgressHandler(logging.StreamHandler[TextIO]):
    """Logs to a stream, on lines of its own."""

    def __init__(self, stream: TextIO, progress: LoadProgress) -> None:
        super().__init__(stream)
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        self._progress.end_line()
        super().emit(record)
