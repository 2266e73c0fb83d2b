"""What was read of a data set, kept in a folder for other processes and later starts to map into memory.

    KEY/  ids.npy learnt.npy … attributes.json complete.json

KEY is the content address of the data and of what tokenised it. A folder appears whole or not at all, and
`complete.json` has the size and checksum of every file, so that what was damaged later is not used.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dpsl.train.data.flat_records import FlatRecords, Texts
from dpsl.train.data.records import DataSource, Record
from dpsl.train.data.token_store import TokenStore
from dpsl.train.run_folder import COMPLETE, RunFolderError, replacing, write_json

FORMAT = 1
ATTRIBUTES = "attributes.json"
BLOCK = 1 << 22

WORTH_KEEPING = 1 << 22
"""Tokens from which keeping saves more than a few seconds of every start."""


@dataclass(frozen=True)
class DataRead:
    """What was read of a data set.

    Attributes:
        key: content address.
        records: N of them.
        tokens: theirs.
    """

    key: str
    records: Sequence[Record]
    tokens: TokenStore


def content_key(sources: Sequence[DataSource], identity: str) -> str:
    """The content address of a data set: files, fractions and attributes, and what tokenises them.

    Args:
        sources: the files; one that cannot be read counts as empty.
        identity: of the encoder.
    """
    told = [[str(s.path), str(s.images), dict(s.attributes), s.fraction, _digest(s.path)] for s in sources]
    return hashlib.sha256(json.dumps([FORMAT, told, identity]).encode()).hexdigest()[:32]


def keep(folder: Path, read: DataRead) -> None:
    """Write a data set to `folder`, under its key.

    Raises:
        RunFolderError: it cannot be written.
    """
    place = folder / read.key
    records = FlatRecords.of(read.records)
    try:
        folder.mkdir(exist_ok=True)
        with replacing(place) as beside:
            beside.mkdir()
            for name, array in _arrays(records, read.tokens).items():
                np.save(beside / f"{name}.npy", array)
            write_json(beside / ATTRIBUTES, records.attributes)
            files = {file.name: _state(file, checked=True) for file in sorted(beside.iterdir())}
            write_json(beside / COMPLETE, files)
    except OSError as error:
        drop_unfinished(folder)
        raise RunFolderError(
            str(folder),
            f"the tokens cannot be kept there ({error.strerror or error})",
            "free some space, or change the folder's permissions",
        ) from None


def kept(folder: Path, key: str, *, checked: bool) -> DataRead | None:
    """A data set that was kept, mapped into memory; None where there is none, or none that is whole.

    Args:
        folder: where it was kept.
        key: which.
        checked: look at every byte; else at sizes alone.
    """
    place = folder / key
    try:
        files = json.loads((place / COMPLETE).read_text(encoding="utf-8"))
        for name, state in files.items():
            found = _state(place / name, checked=checked)
            if found != state[: len(found)]:
                return None
        attributes = json.loads((place / ATTRIBUTES).read_text(encoding="utf-8"))
        arrays = {name: _mapped(place / f"{name}.npy") for name in _NAMES}
    except (OSError, ValueError, AttributeError, TypeError):
        return None
    records = FlatRecords(
        Texts(arrays["place_text"], arrays["place_offsets"]),
        Texts(arrays["path_text"], arrays["path_offsets"]),
        arrays["record_images"],
        tuple(attributes),
        arrays["record_attributes"],
    )
    return DataRead(key, records, TokenStore(*(arrays[name] for name in _NAMES[:5])))


def drop_unfinished(folder: Path) -> None:
    """Delete what a kill left half-written."""
    for beside in folder.glob("*.writing"):
        shutil.rmtree(beside, ignore_errors=True)


_NAMES = (
    "ids", "learnt", "offsets", "images", "conversation", "place_text", "place_offsets", "path_text",
    "path_offsets", "record_images", "record_attributes",
)  # fmt: skip


def _arrays(records: FlatRecords, tokens: TokenStore) -> dict[str, NDArray[Any]]:
    arrays = (
        tokens.ids, tokens.learnt, tokens.offsets, tokens.images, tokens.conversation, records.places.utf8,
        records.places.offsets, records.paths.utf8, records.paths.offsets, records.images, records.attributes_of,
    )  # fmt: skip
    return dict(zip(_NAMES, arrays, strict=True))


def _mapped(file: Path) -> NDArray[Any]:
    mapped: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False).view(np.ndarray)
    return mapped


def _state(file: Path, *, checked: bool) -> list[int]:
    """A file's size and, if asked for, its checksum."""
    size = file.stat().st_size
    if not checked:
        return [size]
    checksum = 0
    with file.open("rb") as stream:
        while block := stream.read(BLOCK):
            checksum = zlib.crc32(block, checksum)
    return [size, checksum]


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return ""
