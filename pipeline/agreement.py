"""Which words of an utterance can be shown while it is still being spoken.

A transcriber changes its mind about the last words it heard, and sometimes about earlier ones. What two hypotheses in
a row begin with, but for the last word of the newer one, is shown and never taken back ("LocalAgreement-2": Liu,
Spanakis, Niehues, "Low-Latency Sequence-to-Sequence Speech Recognition and Translation by Partial Hypothesis
Selection", 2020).
"""

import re

# Scripts that are written without spaces: each character stands for itself.
_SPACELESS = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff"
_UNIT = re.compile(rf"\s*(?:[{_SPACELESS}]|[^\s{_SPACELESS}]+)")


class Agreement:
    """The hypotheses of one utterance."""

    def __init__(self) -> None:
        self._newest: list[str] = []
        self._agreed: list[str] = []

    def add(self, hypothesis: str) -> str:
        """Takes the next hypothesis, the whole utterance so far. Returns all words that can be shown by now."""
        units = _UNIT.findall(hypothesis.strip())
        common = 0
        for unit, before in zip(units[:-1], self._newest, strict=False):  # the last word may be half of one
            if unit != before:
                break
            common += 1
        self._newest = units
        if common > len(self._agreed) and units[: len(self._agreed)] == self._agreed:
            self._agreed = units[:common]
        return "".join(self._agreed)
