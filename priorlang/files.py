"""Writing files whole or not at all."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import whole_file


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a kill at any moment, sees the old content or the new.

    An existing file keeps its permissions, and a symbolic link is written through. A file that is read-only, or
    is no regular file, is left alone: to replace it would not ask for its permission.

    Raises:
        PriorError: `unwritable-file`, where the place cannot be written.
    """
    target = Path(os.path.realpath(path))
    try:
        mode = _mode_of(target)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
        try:
            with os.fdopen(descriptor, "wb") as stream:
                stream.write(content)
            os.chmod(partial, mode)
            os.replace(partial, target)
        except BaseException:
            os.unlink(partial)
            raise
    except OSError as error:
        # What the system says has a number; what we say is the reason itself.
        reason = error.strerror or str(error)
        message = f"{path} cannot be written: {reason}"
        raise PriorError(
            [Finding("unwritable-file", Severity.ERROR, message, whole_file(str(path)))]
        ) from None


def _mode_of(target: Path) -> int:
    """The permissions that a file is to have. Raises OSError where what stands there must stay."""
    if not target.exists():
        return 0o644
    mode = target.stat().st_mode
    if stat.S_ISDIR(mode):
        raise OSError("it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is no regular file")
    if not mode & 0o222 or not os.access(target, os.W_OK):
        raise OSError("it is read-only")
    return stat.S_IMODE(mode)
