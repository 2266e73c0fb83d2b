"""Regularizers in a training file: their options, and what a mistake is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.diagnostics.finding import PriorError
from priorlang.training import TrainingPlan, load_plan, render_plan
from priorlang.training.regularizers import (
    REGULARIZERS,
    DeepseekBias,
    Entropy,
    LoadBalance,
    ManualModality,
    ZLoss,
)

FILE = """\
model: {config: config.json}
output_dir: runs/tiny
data: {path: data.json}
moe: true
regularizers:
  - ENTRY
prior: modality.prior
"""
CONFIG = '{"num_hidden_layers": 2, "num_local_experts": 4, "num_experts_per_tok": 2}'
PRIOR = """\
priorlang 1
attribute modality { vision, language, unknown }
model { layers = 2 experts = 4 top_k = 2 }
default base 1 weight 0.01
"""


def load(folder: Path, entry: str, file: str = FILE) -> TrainingPlan:
    (folder / "config.json").write_text(CONFIG)
    (folder / "data.json").write_text("{}")
    (folder / "modality.prior").write_text(PRIOR)
    (folder / "train.yaml").write_text(file.replace("ENTRY", entry))
    return load_plan(folder / "train.yaml")


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{type: z_loss, coefficient: 0.001}", ZLoss(coefficient=0.001)),
        (
            "{type: load_balance, coefficient: 0.01, reference: hf, layers: [0, 2], scope: global}",
            LoadBalance(coefficient=0.01, reference="hf", layers=(0, 2), scope="global"),
        ),
        (
            "{type: entropy, part: balance, coefficient: 1, schedule: [[0, 1], [0.5, 0]]}",
            Entropy(part="balance", coefficient=1, schedule=((0, 1), (0.5, 0))),
        ),
        (
            "{type: deepseek_bias, center: true, schedule: [[0, 1], [0.9, 1], [1, 0]]}",
            DeepseekBias(update_rate=1e-3, center=True, schedule=((0, 1), (0.9, 1), (1, 0))),
        ),
        (
            "{type: manual_modality, attribute: modality, allow: {vision: [0, 1], language: [2, 3]}}",
            ManualModality(attribute="modality", allow={"vision": (0, 1), "language": (2, 3)}),
        ),
    ],
)
def test_what_the_file_says_is_what_the_engine_gets(tmp_path: Path, entry: str, expected: object) -> None:
    plan = load(tmp_path, entry)
    assert plan.stages[0].regularizers == (expected,)
    again = tmp_path / "again.yaml"
    again.write_text(render_plan(plan))
    assert load_plan(again) == plan


def test_a_schedule_counts_fractions_or_steps() -> None:
    assert ZLoss(coefficient=1, schedule=((0, 0), (1, 1))).schedule_unit == "fraction"
    assert ZLoss(coefficient=1, schedule=((0, 0), (100, 1))).schedule_unit == "step"


def test_the_registry_names_every_type() -> None:
    assert all(REGULARIZERS[name].model_fields["type"].default == name for name in REGULARIZERS)


MANUAL = "{{type: manual_modality, attribute: {}, allow: {}}}"


@pytest.mark.parametrize(
    ("entry", "name", "column", "words"),
    [
        ("{type: z_los, coefficient: 1}", "invalid-value", 12, "did you mean `z_loss`?"),
        ("{type: 3, coefficient: 1}", "invalid-value", 12, "there are load_balance, z_loss"),
        ("{coefficient: 1}", "missing-key", 5, "needs the key `type`"),
        ("z_loss", "invalid-value", 5, "a regularizer is a mapping"),
        ("{type: z_loss}", "missing-key", 5, "needs the key `coefficient`"),
        ("{type: z_loss, coefficient: -1}", "invalid-value", 33, "greater than 0, here it is `-1`"),
        ("{type: z_loss, coefficient: .inf}", "invalid-value", 33, "finite"),
        ("{type: z_loss, coefficient: 1, coefficent: 1}", "unknown-key", 36, "did you mean `coefficient`?"),
        ("{type: z_loss, coefficient: 1, reference: hf}", "unknown-key", 36, "`z_loss` has"),
        ("{type: load_balance, coefficient: 1, reference: deepsped}", "invalid-value", 53, "`deepspeed`?"),
        (
            "{type: load_balance, coefficient: 1, reference: hf, scope: seq}",
            "invalid-value", 5, "leave out `scope: seq`",
        ),
        ("{type: z_loss, coefficient: 1, scope: seq}", "invalid-value", 43, "'micro' or 'global'"),
        ("{type: entropy, coefficient: 1, part: both}", "invalid-value", 43, "'confidence' or 'balance'"),
        ("{type: z_loss, coefficient: 1, schedule: [[0, 1], [0, 2]]}", "invalid-value", 46, "rise"),
        ("{type: z_loss, coefficient: 1, schedule: [[0.5, 1], [9, 2]]}", "invalid-value", 46, "not in both"),
        ("{type: load_balance, coefficient: 1, reference: switch}", "invalid-value", 53, "the model has 2"),
        ("{type: deepseek_bias, coefficient: 1}", "unknown-key", 27, "write `update_rate`, 0.001 by default"),
        ("{type: deepseek_bias, scope: micro}", "unknown-key", 27, "of all ranks and of the whole optimizer"),
        ("{type: deepseek_bias, update_rate: 0}", "invalid-value", 40, "greater than 0"),
        (MANUAL.format("modality", "{vision: [0, 1]}, schedule: [[0, 1]]"), "unknown-key", 75, "end it with the stage"),
        (MANUAL.format("modality", "{vision: [0, 1]}, scope: micro"), "unknown-key", 75, "each token alone"),
        (MANUAL.format("modalty", "{vision: [0, 1]}"), "unknown-name", 40, "did you mean `modality`?"),
        (MANUAL.format("task", "{vision: [0, 1]}"), "unknown-name", 40, "there are modality"),
        (MANUAL.format("modality", "{visoin: [0, 1]}"), "unknown-name", 58, "did you mean `vision`?"),
        (MANUAL.format("modality", "{vision: [0, 4]}"), "invalid-value", 66, "numbered 0 to 3"),
        (MANUAL.format("modality", "{vision: [0]}"), "invalid-value", 66, "may use 1 expert(s), and a token goes to 2"),
        (MANUAL.format("modality", "{vision: []}"), "invalid-value", 66, "may use 0 expert(s)"),
        (MANUAL.format("modality", "{vision: [1, 1]}"), "invalid-value", 66, "an expert twice"),
        (MANUAL.format("modality", "{}"), "invalid-value", 57, "at least 1"),
        (MANUAL.format("modality", "{vision: 1}"), "invalid-value", 66, "should be a list"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_place(
    tmp_path: Path, entry: str, name: str, column: int, words: str
) -> None:
    with pytest.raises(PriorError) as caught:
        load(tmp_path, entry)
    (finding,) = caught.value.findings
    assert (finding.name, finding.span.start.line, finding.span.start.column) == (name, 6, column)
    assert words in finding.message


def test_manual_modality_needs_a_prior(tmp_path: Path) -> None:
    with pytest.raises(PriorError, match="needs a `prior:`, whose attributes tell tokens apart"):
        load(
            tmp_path,
            MANUAL.format("modality", "{vision: [0, 1]}"),
            FILE.replace("prior: modality.prior\n", ""),
        )
