"""The `evaluate:` list of a training file: what it means, and what is wrong with one."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from priorlang.cli.commands import cli
from priorlang.diagnostics.finding import PriorError
from priorlang.training import TrainingPlan, load_plan
from priorlang.training.evaluation import metric_name

FILE = """\
model: {config: config.json}
output_dir: runs/tiny
data: {path: data.json}
eval_data: {path: data.json}
evaluate: {harness: questions}
stages:
  - {name: warmup}
  - {name: finetune, evaluate: [{harness: lmms-eval, tasks: mme, include_path: tasks, arguments: {use_cache: c}}]}
"""


def load(folder: Path, text: str) -> TrainingPlan:
    for name in ("config.json", "data.json"):
        (folder / name).write_text("{}")
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "train.yaml").write_text(text)
    return load_plan(folder / "train.yaml")


def test_stages_have_their_own_or_the_default(tmp_path: Path) -> None:
    plan = load(tmp_path, FILE)
    (first,), (second,) = plan.stage("warmup").evaluate, plan.stage("finetune").evaluate
    assert (first.harness, first.tasks, first.limit, first.batch_size) == ("questions", (), None, 1)
    assert (second.harness, second.tasks, second.include_path) == ("lmms-eval", ("mme",), tmp_path / "tasks")
    assert TrainingPlan.model_validate_json(plan.model_dump_json()) == plan
    assert metric_name("lmms-eval", "gqa", "exact_match") == "evaluation.lmms-eval.gqa.exact_match"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("{harness: lmms-evl, tasks: [mme]}", "did you mean `lmms-eval`?"),
        ("{harnes: questions}", "did you mean `harness`?"),
        ("{harness: lmms-eval}", "`lmms-eval` needs `tasks`"),
        ("{harness: questions, arguments: {use_cache: c}}", "`arguments` is for `lmms-eval`"),
        ("{harness: lmms-eval, tasks: [mme], arguments: {limit: 3}}", "`limit` is given by the entry itself"),
        ("{harness: lmms-eval, tasks: [mme], include_path: none}", "there is no folder"),
        ("{harness: lmms-eval, tasks: [mme], limit: 0}", "`limit` should be greater than 0"),
        ("{tasks: [mme]}", "needs the key `harness`"),
    ],
)
def test_mistakes_are_findings_at_their_place(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(PriorError) as caught:
        load(tmp_path, FILE.replace("{harness: questions}", entry).partition("stages:")[0])
    assert any(message in finding.message for finding in caught.value.findings), caught.value.findings
    assert {finding.span.start.line for finding in caught.value.findings} == {5}


def test_questions_need_held_out_data(tmp_path: Path) -> None:
    text = FILE.replace("eval_data: {path: data.json}\n", "")
    with pytest.raises(PriorError, match="`questions` asks about `eval_data`, and there is none"):
        load(tmp_path, text)


def test_an_absent_package_is_told_before_anything_is_trained(tmp_path: Path) -> None:
    load(tmp_path, FILE)
    for words in (["--dry-run"], []):
        result = CliRunner().invoke(cli, ["train", str(tmp_path / "train.yaml"), *words])
        assert result.exit_code == 1, result.output
        assert (
            "evaluate: lmms-eval: this package is not installed; run `pip install lmms-eval`" in result.output
        )
    assert not (tmp_path / "runs").exists()
