"""The training file: defaults, overriding, and what a mistake is told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from priorlang.diagnostics.finding import Finding, PriorError
from priorlang.syntax import SourceFile
from priorlang.training import TrainingPlan, is_training_file, load_plan, render_plan

MINIMAL = """\
model: {config: config.json}
output_dir: runs/tiny
data: {path: data.json, task: vqa}
"""

STAGED = """\
model_name_or_path: some/hub-name
prior: modality.prior
output_dir: runs/tiny
upcycle: {experts: 4, top_k: 2, scale: preserve}
regularizers: [{type: z_loss, coefficient: 1e-3}]
data:
  - {path: data.json, dataset: 001, task: vqa}
learning_rate: 2e-5
deepspeed: zero1.json
stages:
  - {name: projector, train: projector, learning_rate: 1e-3}
  - name: warmup
    shape: true
    router_learning_rate: 1.0e-2
  - {name: finetune, moe: true, max_steps: 7}
"""


BILLION = b"a: &a [1,1,1,1,1,1,1,1,1,1]\n" + b"".join(
    b"%c: &%c [%s]\n" % (key, key, b",".join([b"*%c" % (key - 1)] * 10)) for key in b"bcdef"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("config.json", "data.json"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "modality.prior").write_text("priorlang 1\n")
    (tmp_path / "zero1.json").write_text('{"zero_optimization": {"stage": 1}}')
    return tmp_path


def load(folder: Path, text: str, set: Mapping[str, Any] | None = None) -> TrainingPlan:
    file = folder / "train.yaml"
    file.write_text(text)
    return load_plan(file, set or {})


def complaints(folder: Path, text: str, set: Mapping[str, Any] | None = None) -> tuple[Finding, ...]:
    with pytest.raises(PriorError) as caught:
        load(folder, text, set)
    return caught.value.findings


def told(findings: tuple[Finding, ...]) -> list[tuple[str, int, int]]:
    return [(finding.name, finding.span.start.line, finding.span.start.column) for finding in findings]


def test_one_stage_needs_no_stages_and_defaults_are_the_papers(folder: Path) -> None:
    plan = load(folder, MINIMAL)
    (stage,) = plan.stages
    assert (stage.name, stage.train, stage.moe, stage.shape) == ("train", ("all",), False, False)
    assert (stage.adam_beta1, stage.adam_beta2, stage.warmup_ratio) == (0.9, 0.999, 0.03)
    assert (stage.lr_scheduler_type, stage.learning_rate) == ("cosine", 2e-5)
    offload = {"device": "cpu", "pin_memory": True}
    assert stage.deepspeed == {"zero_optimization": {"stage": 2, "offload_optimizer": offload}}
    assert stage.data[0].attributes == {"task": "vqa"}
    assert plan.output_dir == folder / "runs" / "tiny"
    assert plan.processor_source == str(folder)


def test_stages_inherit_and_override(folder: Path) -> None:
    plan = load(folder, STAGED)
    projector, warmup, finetune = plan.stages
    assert [stage.learning_rate for stage in plan.stages] == [1e-3, 2e-5, 2e-5]
    assert projector.train == ("projector",)
    assert warmup.moe, "shaping needs experts, so it implies them"
    assert (warmup.router_learning_rate, finetune.router_learning_rate) == (1e-2, None)
    assert finetune.max_steps == 7
    assert plan.prior == folder / "modality.prior"
    assert plan.model_name_or_path == "some/hub-name"
    assert warmup.deepspeed == {"zero_optimization": {"stage": 1}}
    assert warmup.data[0].attributes == {"dataset": "001", "task": "vqa"}
    assert warmup.regularizers[0].coefficient == 1e-3


def test_set_reaches_stages_by_name_and_by_position(folder: Path) -> None:
    plan = load(
        folder,
        STAGED,
        {
            "stages.0.max_steps": "3",
            "stages.finetune.learning_rate": "1e-2",
            "upcycle.experts": "8",
            "seed": 5,
        },
    )
    assert plan.stage("projector").max_steps == 3
    assert plan.stage("finetune").learning_rate == 1e-2
    assert {stage.upcycle.experts for stage in plan.stages if stage.upcycle} == {8}
    assert {stage.seed for stage in plan.stages} == {5}


def test_a_part_of_the_json_that_deepspeed_names_is_set(folder: Path) -> None:
    plan = load(folder, STAGED, {"deepspeed.zero_optimization.overlap_comm": "true"})
    given = {"zero_optimization": {"stage": 1, "overlap_comm": True}}
    assert [stage.deepspeed == given for stage in plan.stages] == [True, True, True]
    plan = load(folder, STAGED, {"stages.warmup.deepspeed.zero_optimization.stage": "3"})
    assert [stage.deepspeed["zero_optimization"]["stage"] for stage in plan.stages] == [1, 3, 1]


def test_a_part_of_a_json_that_is_not_there_is_not_set(folder: Path) -> None:
    (folder / "zero1.json").unlink()
    (finding,) = complaints(folder, STAGED, {"deepspeed.zero_optimization.stage": "3"})
    assert "`deepspeed` is `zero1.json`, which has no" in finding.message
    assert "--set 'deepspeed={zero_optimization: {stage: 3}}'" in finding.message


def test_a_part_of_what_a_stage_inherits_is_set_for_it_alone(folder: Path) -> None:
    plan = load(folder, STAGED, {"stages.warmup.data.0.fraction": "0.5"})
    assert [stage.data[0].fraction for stage in plan.stages] == [1, 0.5, 1]
    (finding,) = complaints(folder, STAGED, {"stages.warmup.data.0.fraction": "2"})
    assert finding.span.file == "--set stages.warmup.data.0.fraction=2"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("prior.temperature", "3", "which has no `temperature` to set; set all of it"),
        ("stages.warmup.evaluate.0.limit", "3", "no `stages.warmup.evaluate` to take item 0 of"),
        ("deepspeed", "{zero_optimization: {stage: 7}}", "zero_optimization.stage is 0, 1, 2 or 3"),
    ],
)
def test_what_cannot_be_set(folder: Path, place: str, value: str, words: str) -> None:
    (finding,) = complaints(folder, STAGED, {place: value})
    assert words in finding.message


def test_set_names_its_own_place(folder: Path) -> None:
    (finding,) = complaints(folder, STAGED, {"stages.fintune.max_steps": "3"})
    assert finding.name == "unknown-key"
    assert "did you mean `finetune`" in finding.message
    assert finding.span.file == "--set stages.fintune.max_steps=3"
    (finding,) = complaints(folder, STAGED, {"stages.0.max_steps": "many"})
    assert finding.span.file == "--set stages.0.max_steps=many"


@pytest.mark.parametrize(
    ("place", "value", "words"),
    [
        ("data.0.expected.records", "many", "`records` should be a whole number, here it is `many`"),
        ("stages.warmup.data.0.expected.images", "-1", "`expected` needs the key `records`"),
        ("data.0.expected", "{records: 3, recods: 4}", "unknown key `recods`; did you mean `records`?"),
        (
            "data.0.expectd.records",
            "3",
            "a member of that attribute, as in `task: vqa`; did you mean `expect",
        ),
        ("training_arguments.adam_beta1", "1", "`adam_beta1` is a key"),
        ("stages.finetune", "{name: finetune, data: [{path: data.json, fraction: 3}]}", "`fraction` should"),
    ],
)
def test_a_mistake_deep_inside_what_was_set_names_its_key_and_the_option(
    folder: Path, place: str, value: str, words: str
) -> None:
    found = complaints(folder, STAGED, {place: value})
    assert any(words in finding.message for finding in found), found
    assert {finding.span.file for finding in found} == {f"--set {place}={value}"}


def test_experts_that_two_stages_give_differently_name_both_places(folder: Path) -> None:
    (finding,) = complaints(folder, STAGED, {"stages.warmup.upcycle.experts": "6"})
    assert finding.message.endswith("`finetune` cannot give another `upcycle`, experts = 4")
    assert told((finding,)) == [("invalid-value", 4, 20)]
    (other,) = finding.related
    assert other.span.file == "--set stages.warmup.upcycle.experts=6"
    assert other.message == "`warmup` has experts = 6 from here: give both the same, above `stages`"


def test_the_place_in_a_list_that_is_none(folder: Path) -> None:
    (finding,) = complaints(folder, MINIMAL, {"data.0.fraction": "2"})
    assert finding.message == "`data` is one entry and no list: leave out the `0` after it"


@pytest.mark.parametrize("text", [MINIMAL, STAGED])
def test_the_rendered_plan_reads_back_equal(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    plan = load(folder, text)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    assert load(elsewhere, render_plan(plan)) == plan
    assert render_plan(load(elsewhere, render_plan(plan))) == render_plan(plan)


def test_wrong_types_are_told_in_the_words_of_a_file(folder: Path) -> None:
    """No model and no output_dir are two findings; a wrong entry of a list is one."""
    text = (
        "data: 5\nupcycle: 3\nbf16: maybe\nmax_steps: [1]\nlearning_rate: fast\n"
        "regularizers: [{type: z_loss, coefficient: 0.1, layers: [-1]}]\n"
    )
    findings = complaints(folder, text)
    assert sorted(finding.message for finding in findings) == [
        "`bf16` should be `true` or `false`, here it is `maybe`",
        "`data` should be a list, here it is `5`",
        "`layers` should be greater than or equal to 0, here it is `-1`",
        "`learning_rate` should be a number, here it is `fast`",
        "`max_steps` should be a whole number",
        "`upcycle` should be a mapping, here it is `3`",
        "the file needs `model_name_or_path` (a folder or hub name), `model: {config: …}` or "
        "`model: {language_model: …, vision_tower: …}`",
        "the file needs the key `output_dir`",
    ]


def test_every_mistake_is_told_at_once_with_its_place(folder: Path) -> None:
    text = STAGED.replace("learning_rate: 2e-5\n", "learning_rat: 2e-5\n").replace(
        "scale: preserve", "scale: preserv"
    )
    text = text.replace("max_steps: 7", "max_steps: seven, output_dir: x")
    findings = complaints(folder, text)
    assert told(findings) == [
        ("invalid-value", 4, 40),
        ("unknown-key", 8, 1),
        ("invalid-value", 15, 44),
        ("unknown-key", 15, 51),
    ]
    assert "did you mean `preserve`" in findings[0].message
    assert "did you mean `learning_rate`" in findings[1].message
    assert findings[1].fix is not None
    assert findings[1].fix.edits[0].text == "learning_rate"
    assert "whole run" in findings[3].message


@pytest.mark.parametrize(
    ("old", "new", "name", "words"),
    [
        ("experts: 4", "experts: 2, top_k: 3", "duplicate-key", "top_k"),
        (
            "experts: 4, top_k: 2",
            "experts: 2, top_k: 3",
            "invalid-value",
            "`top_k` is 3: a token can go to 1 up to 2 experts",
        ),
        ("prior: modality.prior", "prior: modalty.prior", "missing-file", "modalty.prior"),
        ("prior: modality.prior\n", "", "missing-key", "no `prior:`"),
        ("path: data.json", "path: dat.json", "missing-file", "dat.json"),
        ("path: data.json", "images: pictures, path: data.json", "missing-file", "pictures"),
        ("zero1.json", "zero9.json", "missing-file", "deepspeed"),
        ("zero1.json", "modality.prior", "invalid-value", "no JSON"),
        ("finetune, moe: true", "finetune", "invalid-value", "dense"),
        ("finetune, moe: true", "warmup, moe: true", "duplicate-name", "warmup"),
        ("shape: true", "shape: true\n    moe: false", "invalid-value", "moe: false"),
        (
            "shape: true",
            "shape: true\n    ranks: sort\n    gradient_accumulation_steps: 4",
            "invalid-value",
            "takes 4 forward passes into one CDF",
        ),
        (
            "shape: true",
            "shape: true\n    scope: micro\n    look_ahead: true",
            "invalid-value",
            "`look_ahead`",
        ),
        ("learning_rate: 2e-5", "learning_rate: -1", "invalid-value", "greater than or equal to 0"),
        ("learning_rate: 2e-5", "warmup_ratio: 2", "invalid-value", "less than 1"),
        ("learning_rate: 2e-5", "resume_from_checkpoint: x", "unknown-key", "--resume"),
        ("learning_rate: 2e-5", "adam_epsilon: 1e-9", "unknown-key", "training_arguments"),
        ("learning_rate: 2e-5", "training_arguments: {learning_rate: 1}", "invalid-value", "move it out"),
        ("learning_rate: 2e-5", "max_steps: 0", "invalid-value", "above 0"),
        ("some/hub-name", "./nowhere", "missing-file", "nowhere"),
        ("model_name_or_path: some/hub-name\n", "", "missing-key", "model_name_or_path"),
        ("output_dir: runs/tiny\n", "", "missing-key", "output_dir"),
        ("type: z_loss", "type: zloss", "invalid-value", "did you mean `z_loss`"),
        ("dataset: 001", "dataset: [a]", "invalid-value", "dataset"),
        ("zero1.json", "{optimizer: {type: Adam}}", "invalid-value", "leave `optimizer` out"),
    ],
)
def test_one_mistake_one_message(folder: Path, old: str, new: str, name: str, words: str) -> None:
    assert old in STAGED
    findings = complaints(folder, STAGED.replace(old, new))
    assert [finding.name for finding in findings] == [name]
    assert words in findings[0].message
    assert findings[0].span.file.endswith("train.yaml")


@pytest.mark.parametrize(
    ("content", "name", "words"),
    [
        (b"", "missing-key", "is empty"),
        (b"[1, 2]", "missing-key", "no mapping"),
        (b"a: \xff", "unreadable-file", "UTF-8"),
        (b"a: [1", "syntax-error", "not YAML"),
        (b"a: \x00", "syntax-error", "control characters"),
        (b"a: !!python/object:os.system {}", "syntax-error", "tag"),
        (b"a: &x [*x]", "syntax-error", "alias"),
        (BILLION, "syntax-error", "aliases"),
        (b"[" * 5000, "syntax-error", "nested"),
        (b"{[a]: 1}", "syntax-error", "a key is a word"),
        (b"stages: 3", "invalid-value", "one entry per stage"),
        (b"stages: [3]", "invalid-value", "a stage is a mapping"),
    ],
)
def test_files_that_are_no_training_file(folder: Path, content: bytes, name: str, words: str) -> None:
    file = folder / "train.yaml"
    file.write_bytes(content)
    with pytest.raises(PriorError) as caught:
        load_plan(file)
    assert [f for f in caught.value.findings if f.name == name and words in f.message], caught.value


def test_a_missing_training_file(tmp_path: Path) -> None:
    with pytest.raises(PriorError) as caught:
        load_plan(tmp_path / "train.yaml")
    assert [finding.name for finding in caught.value.findings] == ["missing-file"]


def test_what_looks_like_a_training_file() -> None:
    assert is_training_file(SourceFile("t.yaml", "output_dir: x\nstages: ["))
    assert not is_training_file(SourceFile("p.yaml", "priorlang: 1\ndata: x\n"))
    assert not is_training_file(SourceFile("p.yaml", "rules: {}\n"))


def test_overrides_as_text(folder: Path) -> None:
    file = folder / "train.yaml"
    file.write_text(MINIMAL)
    assert load_plan(file, ["seed=3"]).stages[0].seed == 3
    with pytest.raises(PriorError, match="NAME=VALUE"):
        load_plan(file, ["seed"])
