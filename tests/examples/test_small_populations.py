"""The study of small populations: its finding holds on a short run, and its table is complete."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
from example_scripts import example_modules, readme_commands


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    with example_modules("small_populations", "run", "router", "windows") as (run, router, windows):
        yield SimpleNamespace(run=run, router=router, windows=windows)


def test_eq_4_narrows_pairs_and_the_unbiased_target_does_not(example: SimpleNamespace) -> None:
    outcome = {
        target: example.router.train(example.router.Setting(2, target, "sort"), [0, 1], steps=80)
        for target in ("eq4", "mid", "ustat")
    }
    variance = {target: values.variance.mean() for target, values in outcome.items()}
    assert variance["eq4"] < variance["mid"] < 0.05
    assert variance["ustat"] == pytest.approx(1 / 12, abs=0.008)
    assert (outcome["ustat"].loss < outcome["eq4"].loss / 20).all()


def test_large_populations_need_no_care(example: SimpleNamespace) -> None:
    for ranks in ("sort", "histogram"):
        outcome = example.router.train(example.router.Setting(512, "eq4", ranks), [0, 1], steps=80)
        assert outcome.variance.mean() == pytest.approx(1 / 12, abs=0.008)


def test_the_table_has_a_line_for_every_setting(
    example: SimpleNamespace, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(2):
        example.run.main(["--seeds", "2", "--steps", "1"])
    first, second = np.array_split(capsys.readouterr().out.splitlines(), 2)
    assert (first == second).all()
    cells = [line.split("|")[1:4] for line in first if line.startswith("| `")]
    expected = [[f" `{s.target}` ", f" `{s.ranks}` ", f" {s.tokens} "] for s in example.run.SETTINGS]
    assert cells == expected
    assert not any("nan" in line for line in first)


def test_the_readme_s_commands_are_understood(example: SimpleNamespace) -> None:
    commands = readme_commands("small_populations")
    assert [vars(example.run.options(command, steps=1)) for command in commands]


def test_a_window_mends_what_small_micro_batches_break(example: SimpleNamespace) -> None:
    alone, _, window, _, _ = example.windows.WAYS
    variance = {}
    for way in (alone, window):
        weight_DK = example.windows.train(way, 8, 0, steps=20)
        variance[way] = example.router.measured(weight_DK[None], [np.random.default_rng(0)]).variance.item()
    assert variance[alone] < 0.07
    assert variance[window] == pytest.approx(1 / 12, abs=0.01)
