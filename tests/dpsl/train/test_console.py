"""Words on how far reading is: none at first, then a few."""

from __future__ import annotations

import pytest

from dpsl.train import console as module
from dpsl.train.console import Console


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, to be set."""
    now = [100.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    return now


def read(console: Console, clock: list[float], seconds: float) -> None:
    for done in range(10, 101, 10):
        clock[0] += seconds / 10
        console.reading("records read", done, 100)


def test_what_is_done_soon_is_not_told(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    read(Console(), clock, 2.0)
    assert capsys.readouterr().err == ""


def test_what_takes_longer_is_told_now_and_then(
    clock: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    console = Console()
    for _ in range(2):
        read(console, clock, 20.0)
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.splitlines() == [
            "records read: 30 of 100",
            "records read: 80 of 100",
            "records read: 100 of 100",
        ]


def test_the_quiet_and_other_ranks_are_silent(
    clock: list[float], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    read(Console(quiet=True), clock, 20.0)
    monkeypatch.setenv("RANK", "1")
    read(Console(), clock, 20.0)
    assert capsys.readouterr().err == ""
