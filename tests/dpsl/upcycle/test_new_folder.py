"""A new folder: complete or not there, and one process at a time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dpsl.errors import UpcycleError
from dpsl.upcycle.new_folder import whole_or_not_at_all


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_it_appears_at_the_end(tmp_path: Path) -> None:
    with whole_or_not_at_all(tmp_path / "deep" / "new", 1) as beside:
        (beside / "a").write_text("a")
        assert names(tmp_path / "deep") == {"new.writing"}
    assert names(tmp_path / "deep") == {"new"}
    assert names(tmp_path / "deep" / "new") == {"a"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with whole_or_not_at_all(tmp_path / "new", 1) as beside:
            (beside / "a").write_text("a")
            raise error

    with pytest.raises(error):
        fail()
    assert not names(tmp_path)


def test_two_at_once(tmp_path: Path) -> None:
    """The second is refused, and the first keeps what it has written."""
    with whole_or_not_at_all(tmp_path / "new", 1) as beside:
        (beside / "a").write_text("a")
        second = whole_or_not_at_all(tmp_path / "new", 1)
        with pytest.raises(UpcycleError, match="another process is writing it; wait"), second:
            raise AssertionError("both write")
        assert names(beside) == {"a"}
    assert names(tmp_path) == {"new"}


def test_what_a_killed_process_left_is_cleared(tmp_path: Path) -> None:
    child = os.fork()
    if child == 0:
        with whole_or_not_at_all(tmp_path / "new", 1) as beside:
            (beside / "old" / "deep").mkdir(parents=True)
            (beside / "old.txt").write_text("old")
            (beside / "link").symlink_to(tmp_path)
            os._exit(9)
    os.waitpid(child, 0)
    assert names(tmp_path) == {"new.writing"}
    with whole_or_not_at_all(tmp_path / "new", 1) as beside:
        assert not names(beside)
    assert names(tmp_path) == {"new"}


def test_a_target_taken_meanwhile_stays(tmp_path: Path) -> None:

    def overtaken() -> None:
        with whole_or_not_at_all(tmp_path / "new", 1) as beside:
            (beside / "a").write_text("ours")
            (tmp_path / "new").mkdir()
            (tmp_path / "new" / "a").write_text("theirs")

    with pytest.raises(UpcycleError, match="something is there already"):
        overtaken()
    assert names(tmp_path) == {"new"}
    assert (tmp_path / "new" / "a").read_text() == "theirs"


def test_places_that_cannot_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, file = tmp_path / "source", tmp_path / "file"
    source.mkdir()
    file.write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for target, message in (
        (source / "inside" / "new", "would lie inside .*source, which is read; name a folder beside it"),
        (file, "something is there already"),
        (file / "new", "cannot be written .*File exists: .*file"),
        (tmp_path / "link", "something is there already"),
        (tmp_path / ("x" * 300), "cannot be written .*too long"),
    ):
        with pytest.raises(UpcycleError, match=message), whole_or_not_at_all(target, 1, (source,)):
            raise AssertionError(target)
    assert names(tmp_path) == {"source", "file", "link"}
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    with whole_or_not_at_all(Path("new"), 1) as beside:
        (beside / "a").write_text("")
    assert names(tmp_path / "empty") == {"new"}


def test_a_folder_that_may_not_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refused)
    writing = whole_or_not_at_all(tmp_path / "new", 1)
    with pytest.raises(UpcycleError, match=r"Permission denied.*check space and permissions"), writing:
        raise AssertionError
