"""The model that a training file is about, and its prior held to it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from priorlang.cli.commands import cli
from priorlang.diagnostics.finding import PriorError
from priorlang.model_config import GivenModel
from priorlang.training import load_plan, read_plan
from priorlang.training.model import model_of
from priorlang.training.priors import compiled_priors


@pytest.fixture
def training_file(tmp_path: Path) -> Path:
    config = {"text_config": {"num_hidden_layers": 4}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "a.prior").write_text("priorlang 1\ndefault base 1 weight 0.01\n")
    (tmp_path / "data.json").write_text("[]")
    file = tmp_path / "train.yaml"
    file.write_text(
        "model: {config: config.json}\nprior: a.prior\noutput_dir: run\n"
        "upcycle: {experts: 8, top_k: 2, layers: [1, 3]}\n"
        "data: {path: data.json}\nstages: [{name: moe, moe: true, shape: true}]\n"
    )
    return file


def test_upcycling_says_what_the_dense_config_does_not(training_file: Path) -> None:
    plan = load_plan(training_file)
    given = model_of(plan, plan.stages[0])
    assert given == GivenModel(str(training_file.parent / "config.json"), 4, 8, 2, (1, 3))


@pytest.mark.parametrize(
    ("layers", "routed"),
    [("all", None), ("every-other", (0, 2)), ("first-half", (0, 1)), ("[3, 1, 3]", (1, 3))],
)
def test_which_layers_route(training_file: Path, layers: str, routed: tuple[int, ...] | None) -> None:
    plan = load_plan(training_file, {"upcycle.layers": layers})
    given = model_of(plan, plan.stages[0])
    assert given is not None
    assert given.routed == routed


def test_a_prior_for_other_experts_names_where_the_training_file_or_an_option_gives_them(
    training_file: Path,
) -> None:
    prior = training_file.parent / "a.prior"
    prior.write_text("priorlang 1\nmodel { experts = 4  top_k = 1 }\ndefault base 1 weight 0.01\n")
    loaded = read_plan(training_file, ["upcycle.experts=16"])
    with pytest.raises(PriorError) as caught:
        compiled_priors(loaded.plan, loaded.span)
    experts, top_k = caught.value.findings
    assert experts.span.file == str(prior)
    assert [(place.span.file, place.message) for place in experts.related] == [
        ("--set upcycle.experts=16", "`upcycle` gives the model experts = 16: change one of the two")
    ]
    assert [(place.span.file, place.span.start.line) for place in top_k.related] == [(str(training_file), 4)]


@pytest.mark.parametrize("more", [[], ["--set", "stages.moe.shape=false"]])
def test_validate_holds_priors_to_the_training_files_model(training_file: Path, more: list[str]) -> None:
    def validate() -> Result:
        return CliRunner().invoke(cli, ["validate", str(training_file), *more])

    clean = validate()
    assert clean.exit_code == 0, clean.output
    assert "2 cells (2 layers × 1 token class)" in clean.stderr
    prior = training_file.parent / "a.prior"
    prior.write_text("priorlang 1\nmodel { experts = 4 }\ndefault base 1 weight 0.01\n")
    other = validate()
    assert other.exit_code == 1
    assert "the file says experts = 4, and the model has 8" in other.stdout
    assert f"{training_file}:4:" in other.stdout


def test_a_config_that_is_not_at_hand_is_no_error(training_file: Path) -> None:
    plan = load_plan(training_file)
    (training_file.parent / "config.json").unlink()
    assert model_of(plan, plan.stages[0]) is None
