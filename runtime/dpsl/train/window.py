"""The tokens that the shaper's window remembers, kept beside a checkpoint: a resumed run goes on exactly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file, save_file

from dpsl.errors import DpslError

if TYPE_CHECKING:
    from dpsl.shaper import Shaper

WINDOW = "window.safetensors"


def save_window(shaper: Shaper, checkpoint: Path) -> None:
    """Write the window into a checkpoint's folder."""
    if shaper.window > 1:
        save_file(shaper.state_dict(), checkpoint / WINDOW)


def restore_window(shaper: Shaper, checkpoint: Path) -> None:
    """Remember the tokens of a checkpoint.

    Raises:
        DpslError: it has none, or they cannot be read.
    """
    if shaper.window == 1:
        return
    try:
        shaper.load_state_dict(load_file(checkpoint / WINDOW))
    except Exception as error:
        raise DpslError(
            str(checkpoint / WINDOW),
            f"the tokens that the empirical CDFs remember cannot be read ({error})",
            "resume from a checkpoint of a run with the same gradient accumulation, or train anew",
        ) from None
