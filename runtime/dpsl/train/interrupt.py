"""Ctrl-C that cannot get lost.

Python drops a KeyboardInterrupt that is raised while a destructor or a callback from C runs, of which training has many:
the run would go on as if nobody had asked. So the request is kept, and asked for again before every micro-step.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType

_requested = threading.Event()


def keep_interrupts() -> None:
    """Remember interrupts of this process from now on, where Python handles them in its own way."""
    in_main = threading.current_thread() is threading.main_thread()
    if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _remember)


def raise_kept() -> None:
    """Raise the interrupt that was asked for, if it has not ended the run yet.

    Raises:
        KeyboardInterrupt: somebody pressed Ctrl-C.
    """
    if _requested.is_set():
        raise KeyboardInterrupt


def _remember(_signal: int, _frame: FrameType | None) -> None:
    _requested.set()
    raise KeyboardInterrupt
