"""A folder that appears when it is complete, written by one process at a time."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from safetensors import SafetensorError

from dpsl.errors import UpcycleError

WRITING = ".writing"


@contextmanager
def whole_or_not_at_all(target: Path, needed: int, apart_from: tuple[Path, ...] = ()) -> Iterator[Path]:
    """`TARGET.writing` to write to; it becomes `target` at the end, and goes if anything fails.

    It is locked while its process lives. What a killed process left there is cleared; that of a living one is not.

    Args:
        target: must not be there, or be an empty folder.
        needed: bytes that will be written.
        apart_from: folders that it must not lie in.

    Raises:
        UpcycleError: the target is taken, is being written, or the disk refuses.
    """
    target = target.absolute()
    for folder in apart_from:
        if target.resolve().is_relative_to(folder.resolve()) and target.resolve() != folder.resolve():
            raise UpcycleError(
                str(target), f"it would lie inside {folder}, which is read", "name a folder beside it"
            )
    with _told(target):
        _check_free(target)
        target.parent.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(target.parent).free
        if free < needed:
            raise UpcycleError(
                str(target),
                f"{needed:,} bytes are needed and {free:,} are free",
                "make room, or write elsewhere",
            )
        with _locked(target) as beside:
            try:
                yield beside
                _check_free(target)
                if target.is_dir():
                    target.rmdir()
                beside.replace(target)
            except BaseException:
                shutil.rmtree(beside, ignore_errors=True)
                raise


@contextmanager
def _told(target: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise UpcycleError(
            str(target), f"it cannot be written ({error})", "check space and permissions, or write elsewhere"
        ) from None


def _check_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not (target.is_dir() and not any(target.iterdir()))):
        raise UpcycleError(str(target), "something is there already", "name a new folder, or delete it first")


@contextmanager
def _locked(target: Path) -> Iterator[Path]:
    """An empty folder beside `target`, locked by this process."""
    beside = target.with_name(target.name + WRITING)
    while True:
        beside.mkdir(exist_ok=True)
        descriptor = os.open(beside, os.O_RDONLY | os.O_DIRECTORY)
        try:
            _lock(descriptor, target)
            # Another process may have renamed or deleted the folder between opening and locking it.
            if _is_still(beside, descriptor):
                for left in beside.iterdir():
                    shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
                yield beside
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, target: Path) -> None:
    """Lock a folder until its descriptor is closed. File systems without locks go without."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise UpcycleError(
            str(target), "another process is writing it", "wait for it, or name another folder"
        ) from None
    except OSError:
        return


def _is_still(folder: Path, descriptor: int) -> bool:
    with suppress(FileNotFoundError):
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    return False
