"""What a run says while it trains, on standard error: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from dpsl.text_table import format_table, number
from dpsl.train.processes import rank

CLEAR = "\r\x1b[K"
BAR = 24
PATIENCE_S, REDRAW_S, REPEAT_S = 3.0, 0.2, 10.0
"""Reading is told of from PATIENCE_S on, and then every so often: on a terminal, and elsewhere."""
SHOWN = ("loss", "dpsl", "learning_rate", "tokens_per_second")


class Console:
    """Lines and bars of rank 0; silent elsewhere and when quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._silent = quiet or rank() != 0
        self._live = not self._silent and sys.stderr.isatty()
        self._stage, self._done, self._steps, self._note = "", 0, 0, ""
        self._what, self._shown, self._read, self._next = "", "", 0, 0.0

    def line(self, text: str = "") -> None:
        """One line, above the bar."""
        if not self._silent:
            print(f"{CLEAR}{text}" if self._live else text, file=sys.stderr, flush=True)  # noqa: T201
            self._draw()

    def begin(self, stage: str, step: int, steps: int) -> None:
        """A stage begins or goes on at `step`."""
        self._stage, self._done, self._steps, self._note = stage, step, steps, ""
        self._draw()

    def step(self) -> None:
        """One optimizer step is done."""
        self._done += 1
        self._draw()

    def row(self, row: Mapping[str, Any]) -> None:
        """New metrics."""
        self._note = "  ".join(f"{name} {number(row[name])}" for name in SHOWN if name in row)
        if self._live:
            self._draw()
        else:
            self.line(f"{self._stage} {row['step']}/{self._steps}  {self._note}")

    def end(self) -> None:
        """The stage is over."""
        self._steps = 0
        if self._live:
            print(CLEAR, end="", file=sys.stderr, flush=True)  # noqa: T201

    def reading(self, what: str, done: int, total: int) -> None:
        """How far reading is, once it takes more than a few seconds."""
        now = time.monotonic()
        if what != self._what or done < self._read:
            self._what, self._next = what, now + PATIENCE_S
        self._read = done
        over = done == total
        if self._silent or (now < self._next and not (over and self._shown == what)):
            return
        self._shown = "" if over else what
        self._next = now + (REDRAW_S if self._live else REPEAT_S)
        text = f"{what}: {done:,} of {total:,}"
        if self._live and not over:
            print(f"{CLEAR}{text}", end="", file=sys.stderr, flush=True)  # noqa: T201
        else:
            self.line(text)

    def _draw(self) -> None:
        if self._live and self._steps:
            filled = BAR * self._done // self._steps
            bar = "█" * filled + "·" * (BAR - filled)
            text = f"{self._stage} {bar} {self._done}/{self._steps}  {self._note}"
            width = shutil.get_terminal_size().columns - 1
            print(f"{CLEAR}{text[:width]}", end="", file=sys.stderr, flush=True)  # noqa: T201

    def table(self, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """Columns wide enough for what is in them."""
        for text in format_table(header, rows):
            self.line(text)
