"""An interrupt that Python drops, as within a destructor, ends the run at its next step."""

from __future__ import annotations

import subprocess
import sys

LOST = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
from dpsl.train.interrupt import keep_interrupts, raise_kept
class Careless:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        sum(range(100))
keep_interrupts()
raise_kept()
Careless()
print("it went on")
try:
    raise_kept()
except KeyboardInterrupt:
    print("and was stopped")
"""


def test_an_interrupt_within_a_destructor() -> None:
    done = subprocess.run([sys.executable, "-c", LOST], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["it went on", "and was stopped"]
    assert "Exception ignored" in done.stderr
