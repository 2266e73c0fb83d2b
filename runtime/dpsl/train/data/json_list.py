"""JSON files that hold one list: how LLaVA and its kin keep their data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from dpsl.errors import DataError, DataProblem


def read_list(path: Path, expected: str) -> list[Any]:
    """The entries of a JSON file that holds a list.

    Args:
        path: the file.
        expected: what the file should hold, for messages.

    Raises:
        DataError: it is missing, no JSON, no list, or empty.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise _unreadable(path, "no such file", "correct `path` in the training file's `data`") from None
    except IsADirectoryError:
        fix = "`path` names a JSON file; `images` names the folder of its images"
        raise _unreadable(path, "it is a folder", fix) from None
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"not UTF-8 text ({error.reason})", expected) from None
    except json.JSONDecodeError as error:
        place = f"{path}:{error.lineno}:{error.colno}"
        raise _unreadable(place, f"not JSON ({error.msg})", expected) from None
    except OSError as error:
        raise _unreadable(
            path, f"cannot be read ({error.strerror})", "check the file's permissions"
        ) from None
    if not isinstance(content, list):
        raise _unreadable(path, f"it holds {kind(content)}", expected)
    if not content:
        raise _unreadable(path, "the list is empty", "add records, or leave the file out")
    return content


def kind(value: object) -> str:
    """What a JSON value is, in words."""
    names = {dict: "a mapping", list: "a list", str: "text", bool: "true or false", type(None): "null"}
    return names.get(type(value), f"{value!r}"[:40])


def _unreadable(place: Path | str, problem: str, fix: str) -> DataError:
    return DataError([DataProblem(str(place), problem, fix)])
