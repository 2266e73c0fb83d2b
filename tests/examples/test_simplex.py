"""The simplex example: distances are right, shaping shapes, output is there and repeats."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from example_scripts import example_modules, readme_commands
from PIL import Image
from scipy import stats

MODULES = ("run", "shaping", "distance", "table")


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    with example_modules("simplex", *MODULES) as modules:
        yield SimpleNamespace(**dict(zip(MODULES, modules, strict=True)))


def test_a_run_writes_the_table_and_both_figures(
    example: SimpleNamespace,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(example.run, "STEPS", 4)
    monkeypatch.setattr(example.run, "LONGER", 6)
    outputs = [tmp_path / "a" / "new", tmp_path / "b"]
    for output in outputs:
        example.run.main(["--seeds", "2", "--first", "3", "--output", str(output)])
    text = (outputs[0] / "table.txt").read_text(encoding="utf-8")
    assert text in capsys.readouterr().out
    for expected in (
        "seeds (3 to 4)",
        "Figure 2",
        "(0.2, 0.2, 0.2)",
        "SGD, 4 steps",
        "Adam, 6 steps",
        "drawn",
    ):
        assert expected in text
    assert "nan" not in text
    for name in ("table.txt", "figure-2.png", "figure-6.png"):
        assert (outputs[0] / name).read_bytes() == (outputs[1] / name).read_bytes(), name
    with Image.open(outputs[0] / "figure-2.png") as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(2**24)) > 100


def test_adam_shapes_both_sources_and_sgd_neither(example: SimpleNamespace) -> None:
    """The paper's figures: .316 falls to 8.6e-5 in 100 steps, .179 to 5.7e-4."""
    for case, start, end in (
        (example.shaping.FIGURE_2, 0.316, 8.6e-5),
        (example.shaping.FIGURE_6, 0.179, 5.7e-4),
    ):
        shaped = example.shaping.shape(case, 0, 100, (0, 100))
        assert shaped.loss_T[0] == pytest.approx(start, rel=0.01)
        assert shaped.loss_T[-1] == pytest.approx(end, rel=0.2)
        assert len(shaped.loss_T) == 101
        for source, alpha in enumerate(case.alpha):
            before, after = (
                example.distance.marginal_distance(shaped.probabilities[step][source], alpha)
                for step in (0, 100)
            )
            assert after < before / 4
        by_sgd = example.shaping.shape(case, 0, 20, (), "SGD")
        assert 0.99 * by_sgd.loss_T[0] < by_sgd.loss_T[-1] < by_sgd.loss_T[0]


def test_marginal_distance_is_scipy_s(example: SimpleNamespace) -> None:
    alpha = np.array([3.0, 1.0, 0.5])
    points = np.random.default_rng(0).dirichlet([1.0, 2.0, 1.0], 200)
    expected = [
        stats.kstest(points[:, k], stats.beta(alpha[k], alpha.sum() - alpha[k]).cdf).statistic
        for k in range(3)
    ]
    assert example.distance.marginal_distance(points, alpha) == pytest.approx(max(expected))


def test_a_large_sample_of_the_prior_lies_at_no_distance(example: SimpleNamespace) -> None:
    alpha = np.array([3.0, 1.0, 0.5])
    points = np.random.default_rng(0).dirichlet(alpha, 200_000)
    assert example.distance.marginal_distance(points, alpha) < 0.006
    assert example.distance.pair_distance(points, alpha) < 0.006
    assert example.distance.covariance_error(points, alpha) < 0.02


def test_pairs_see_how_the_others_share(example: SimpleNamespace) -> None:
    """Category 1 as the prior has it, but the rest always split in half."""
    alpha = np.array([1.0, 1.0, 1.0])
    points = np.random.default_rng(0).dirichlet(alpha, 10_000)
    points[:, 1:] = points[:, 1:].mean(axis=1, keepdims=True)
    assert example.distance.pair_distance(points, alpha) == pytest.approx(0.5, abs=1e-6)


def test_the_readme_s_commands_are_understood(example: SimpleNamespace) -> None:
    commands = readme_commands("simplex")
    assert [vars(example.run._options(command)) for command in commands]


@pytest.mark.parametrize(
    ("arguments", "named"), [(["--seeds", "1"], "--seeds"), (["--first", "-2"], "--first")]
)
def test_bad_arguments_are_named(
    example: SimpleNamespace, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        example.run.main(arguments)
    assert named in capsys.readouterr().err
