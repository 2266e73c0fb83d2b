"""`priorlang diff --git`: what git calls to show a change of a prior (`diff.prior.command`)."""

from __future__ import annotations

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class GitChange:
    """What git asks to show.

    Attributes:
        path: the file, in the working tree.
        before: a file with its old content; the null device where it is new.
        after: a file with its new content; the null device where it is gone.
        path_after: where it stands now; another place where it was moved.
    """

    path: str
    before: str
    after: str
    path_after: str


def git_change(words: Sequence[str]) -> GitChange | None:
    """Read what git puts behind the command: `path old hex mode new hex mode`, and two words more of a moved file.

    None of a file that is not merged yet: git gives its path alone.

    Raises:
        ValueError: git puts something else there.
    """
    if len(words) == 1:
        return None
    if len(words) not in (7, 9):
        raise ValueError(f"git gives 7 words (9 of a moved file), and there are {len(words)}")
    moved_to = words[7] if len(words) == 9 else words[0]
    return GitChange(words[0], words[1], words[4], moved_to)


def text_change(change: GitChange) -> str:
    """The change as text, of a prior that cannot be read as one."""
    before, after = (_lines(path) for path in (change.before, change.after))
    lines = difflib.unified_diff(before, after, f"a/{change.path}", f"b/{change.path_after}", lineterm="")
    return "\n".join(lines)


def _lines(path: str) -> list[str]:
    if path == os.devnull:
        return []
    return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
