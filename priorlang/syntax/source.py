"""Reading a source file: bytes to text, with everything that can be wrong with bytes."""

from __future__ import annotations

import os
import re
from bisect import bisect_right

from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.span import Position, Span, whole_file
from priorlang.records import Record

MAXIMUM_BYTES = 1024 * 1024
"""Room for ten thousand rules; what is read in two seconds, whatever it holds."""


class SourceFile(Record):
    """The text of a file, under the name that findings show."""

    name: str
    text: str

    @property
    def is_yaml(self) -> bool:
        """Whether the name says that this is the YAML form."""
        return self.name.endswith((".yaml", ".yml"))


_PRIOR_KEY = re.compile(r"""^[{ ]*["']?priorlang["']?[ \t]*:""", re.MULTILINE)


def may_be_prior(path: str) -> bool:
    """Whether a file is meant as a prior: by its ending, or as YAML with the key `priorlang`, however broken."""
    if not path.endswith((".yaml", ".yml")):
        return True
    try:
        with open(path, "rb") as stream:
            text = stream.read(MAXIMUM_BYTES).decode("utf-8", "replace")
    except (OSError, ValueError):
        return True
    return _PRIOR_KEY.search(text) is not None


class LineTable:
    """Offsets into a text → places."""

    def __init__(self, text: str) -> None:
        self.length = len(text)
        self.starts = [0, *(found.end() for found in re.finditer("\n", text))]

    def at(self, offset: int) -> Position:
        """The place of an offset; of the end of the text where it lies beyond."""
        offset = min(offset, self.length)
        line = bisect_right(self.starts, offset)
        return Position(line, offset - self.starts[line - 1] + 1)


def read_source(path: str | os.PathLike[str]) -> SourceFile:
    """Read a file as UTF-8; a byte-order mark is dropped and line ends become line feeds.

    Raises:
        PriorError: the file cannot be read, is too large, or is no text.
    """
    name = os.fspath(path)
    try:
        with open(name, "rb") as stream:
            raw = stream.read(MAXIMUM_BYTES + 1)
    except FileNotFoundError:
        raise _unreadable(name, "missing-file", f"there is no file {name}") from None
    except IsADirectoryError:
        raise _unreadable(name, "unreadable-file", f"{name} is a folder, not a prior file") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise _unreadable(name, "unreadable-file", f"{name} cannot be read: {reason}") from None
    return SourceFile(name, decode(name, raw))


def decode(name: str, raw: bytes) -> str:
    """The text of the bytes of a source file. Raises PriorError where they are no text."""
    if len(raw) > MAXIMUM_BYTES:
        message = f"{name} is larger than {MAXIMUM_BYTES // 2**20} MiB; a prior is a small program"
        raise _unreadable(name, "unreadable-file", message)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        place = Position(line, 1)
        message = f"byte {error.start} is not UTF-8 text; save the file as UTF-8"
        if name.endswith(".safetensors"):
            message = f"{name} is a compiled table; name the prior file that it came from"
        raise PriorError(
            [Finding("unreadable-file", Severity.ERROR, message, Span(name, place, place))]
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _unreadable(name: str, finding: str, message: str) -> PriorError:
    return PriorError([Finding(finding, Severity.ERROR, message, whole_file(name))])
