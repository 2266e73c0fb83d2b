"""The clustering example, with few seeds and epochs: its parts are right, its output is there and repeats."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from example_scripts import EXAMPLES, example_modules, readme_commands
from PIL import Image

MODULES = ("run", "mixtures", "network", "swav", "secu", "protocol", "accuracy", "scores")
QUICK = ["--seeds", "2", "--epochs", "6", "--warm-up", "4"]


@pytest.fixture(scope="module")
def example() -> Iterator[SimpleNamespace]:
    with example_modules("clustering", *MODULES) as modules:
        yield SimpleNamespace(**dict(zip(MODULES, modules, strict=True)))


@pytest.fixture(scope="module")
def quick_run(example: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("clustering") / "new" / "folder"
    example.run.main([*QUICK, "--output", str(folder)])
    return folder


def test_a_run_writes_tables_accuracies_and_the_figure(quick_run: Path) -> None:
    text = (quick_run / "tables.txt").read_text(encoding="utf-8")
    for expected in ("Table 1", "Table 4", "paper, with it", "reversed order", "+14.93", "all six cells"):
        assert expected in text
    assert "nan" not in text
    with (quick_run / "accuracy.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 2 * 3 * 7 * 2  # methods, data sets, rows, seeds
    assert all(100 / 3 <= float(row["accuracy"]) <= 100 for row in rows)
    with Image.open(quick_run / "figure-5.png") as image:
        assert image.width > 1000
        assert len(image.convert("RGB").getcolors(2**24)) > 100


def test_a_run_repeats(example: SimpleNamespace, quick_run: Path, tmp_path: Path) -> None:
    example.run.main([*QUICK, "--output", str(tmp_path)])
    for name in ("tables.txt", "accuracy.csv", "figure-5.png"):
        assert (tmp_path / name).read_bytes() == (quick_run / name).read_bytes(), name


def test_a_seed_draws_the_same_whatever_other_seeds_run(example: SimpleNamespace) -> None:
    mixture = example.mixtures.OVERLAPPING
    both = example.mixtures.sample(mixture, [np.random.default_rng(seed) for seed in (3, 4)])
    one = example.mixtures.sample(mixture, [np.random.default_rng(4)])
    torch.testing.assert_close(both.points_SN2[1:], one.points_SN2, rtol=0, atol=0)
    assert (both.labels_SN[1:] == one.labels_SN).all()


def test_mixtures_have_the_paper_s_sizes_and_shapes(example: SimpleNamespace) -> None:
    for mixture in example.mixtures.MIXTURES:
        samples = example.mixtures.sample(mixture, [np.random.default_rng(0)])
        assert tuple(np.bincount(samples.labels_SN[0])) == mixture.sizes
        assert sum(mixture.sizes) == example.mixtures.POINTS
        assert samples.points_SN2.mean(dim=1).abs().max() < 1e-5
    elongated = example.mixtures.ELONGATED
    assert elongated.major == pytest.approx((2.1, 4.0, 1.0))


def test_sinkhorn_balances_clusters(example: SimpleNamespace) -> None:
    scores = 8 * torch.rand(2, 3, 2, 200, generator=torch.Generator().manual_seed(0))
    target = example.swav.balanced_assignment(scores)
    torch.testing.assert_close(target.sum(dim=1), torch.ones(2, 2, 200))
    torch.testing.assert_close(target.mean(dim=3), torch.full((2, 3, 2), 1 / 3), rtol=0, atol=1e-3)


def test_entropy_keeps_the_labels_of_secu_apart(example: SimpleNamespace) -> None:
    """One cluster is a little nearer to all: without the constraint it would take every point."""
    nearer = torch.tensor([0.02, 0.0, 0.0])[:, None] + 0.02 * torch.rand(
        3, 1500, generator=torch.Generator().manual_seed(0)
    )
    labels = None
    for _ in range(5):
        labels = example.secu.choose_labels(nearer[None], labels)
    sizes = labels[0].bincount(minlength=3)
    assert sizes.min() > 300
    assert sizes.argmax() == 0


def test_accuracy_is_that_of_the_best_naming(example: SimpleNamespace) -> None:
    labels = np.array([[0, 0, 0, 1, 1, 2]])
    clusters = np.array([[2, 2, 1, 1, 1, 0]])
    by_hand = max((np.array(names)[clusters] == labels).mean() for names in itertools.permutations(range(3)))
    assert example.accuracy.accuracy(clusters, labels) == pytest.approx([100 * by_hand])
    assert example.accuracy.accuracy(np.zeros_like(labels), labels) == pytest.approx([50.0])


def test_components_follow_the_sizes(example: SimpleNamespace) -> None:
    protocol, mixture = example.protocol, example.mixtures.OVERLAPPING
    sizes = torch.tensor([[100, 900, 500], [700, 700, 100]])
    by_size = protocol.prior(protocol.TUNED, mixture, sizes)
    assert by_size.tolist() == [[0.5, 1.5, 1.0], [1.5, 1.0, 0.5]]
    assert protocol.prior(protocol.REVERSED, mixture, sizes)[0].tolist() == [1.5, 0.5, 1.0]
    assert protocol.prior(protocol.LITERAL, mixture, sizes)[0].tolist() == list(mixture.alpha)
    assert protocol.prior(protocol.TUNED_MISSPECIFIED, mixture, sizes)[0].tolist() == [1.0, 1.5, 1.0]


def test_rows_continue_from_one_checkpoint_and_take_their_prior_s_sizes(example: SimpleNamespace) -> None:
    """A second baseline is the first, to the bit; the sizes follow the prior, uneven or even."""
    protocol, mixture = example.protocol, example.mixtures.NON_OVERLAPPING
    uneven, even = protocol.Row("uneven", 1.0), protocol.Row("even", 1.0, alpha=(3.0, 3.0, 3.0))
    rows = (protocol.BASELINE, protocol.Row("again", 0.0), uneven, even)
    swav, _ = protocol.run_mixture(mixture, [5, 10], rows, epochs=30, warm_up=15)
    assert torch.equal(swav.clusters["baseline"], swav.clusters["again"])
    spread = {
        row: protocol.cluster_sizes(clusters).double().std(dim=1) for row, clusters in swav.clusters.items()
    }
    assert (spread["uneven"] > spread["even"] + 40).all()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [(["--seeds", "1"], "--seeds"), (["--warm-up", "50"], "--warm-up"), (["--first", "-1"], "--first")],
)
def test_bad_arguments_are_named(
    example: SimpleNamespace, arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        example.run.main(arguments)
    assert named in capsys.readouterr().err


def test_an_output_that_is_a_file_is_named(example: SimpleNamespace, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SystemExit, match="cannot write to"):
        example.run.main([*QUICK, "--output", str(tmp_path / "taken")])


def test_the_readme_s_commands_are_understood_and_its_rows_are_those_of_the_study(
    example: SimpleNamespace,
) -> None:
    commands = readme_commands("clustering")
    assert [vars(example.run._options(command)) for command in commands]
    readme = (EXAMPLES / "clustering" / "README.md").read_text(encoding="utf-8")
    for row in example.protocol.ROWS:
        assert readme.count(f"\n  {row.name} ") >= 3, row.name
