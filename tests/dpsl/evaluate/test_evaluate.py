"""Benchmarks: the built-in questions, lmms-eval by a stand-in of its interface, and what a run keeps of them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from transformers import AutoConfig, AutoModelForImageTextToText, AutoProcessor

import dpsl
from dpsl.errors import EvaluationError
from dpsl.evaluate import evaluate_model, evaluate_run, pending, require
from dpsl.evaluate.lmms import _task_manager, cut, generation_options, scores_of
from dpsl.evaluate.run import evaluate_pending
from dpsl.evaluate.scores import Score
from dpsl.proportion import standard_error
from dpsl.report import write_report
from dpsl.train.run_folder import RunFolder, read_metrics, write_json
from priorlang.cli.commands import cli
from priorlang.grid.plan import Metric
from priorlang.grid.results import cell_values
from priorlang.training.evaluation import EvaluationPlan
from priorlang.training.plan import DataSource, StagePlan, TrainingPlan
from tests.html_page import HtmlPage

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture(scope="module")
def model(digits_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An upcycled LLaVA that writes nothing but padding, whatever it is asked."""
    folder = tmp_path_factory.mktemp("evaluated") / "model"
    torch.manual_seed(0)
    network = AutoModelForImageTextToText.from_config(AutoConfig.from_pretrained(digits_data / "model"))
    dpsl.upcycle(network)
    with torch.no_grad():
        network.get_output_embeddings().weight.zero_()
    network.save_pretrained(folder)
    AutoProcessor.from_pretrained(digits_data / "model").save_pretrained(folder)
    return folder


@pytest.fixture
def lmms_eval(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def forget() -> None:
        for name in [name for name in sys.modules if name.partition(".")[0] == "lmms_eval"]:
            del sys.modules[name]
        importlib.invalidate_caches()
        _task_manager.cache_clear()

    forget()
    monkeypatch.syspath_prepend(str(STAND_IN))
    yield
    forget()


@pytest.fixture
def tasks(digits_data: Path, tmp_path: Path) -> Path:
    """Tasks with one image, with two, with none; and what a model of images and text cannot be asked."""
    pictures = [str(file) for file in sorted((digits_data / "images").rglob("*.png"))[:3]]
    base: dict[str, object] = {
        "answer": "",
        "options": {"max_new_tokens": 2, "temperature": 0, "until": ["."]},
    }
    asked = {
        "looks": [
            {**base, "question": "Which digit is this?", "images": pictures[i : i + 1]} for i in range(3)
        ],
        "pairs": [{**base, "question": "<image>\n<image>\nWhich is larger?", "images": pictures[:2]}],
        "reads": [{**base, "question": "Is one even or odd?", "images": []}],
        "films": [{**base, "question": "What happens?", "images": [], "video": True}],
        "ranks": [{**base, "question": "?", "images": [], "type": "loglikelihood"}],
        "talks": [{**base, "question": "?", "images": [], "type": "generate_until_multi_round"}],
    }
    (tmp_path / "tasks").mkdir()
    for name, documents in asked.items():
        (tmp_path / "tasks" / f"{name}.json").write_text(json.dumps(documents))
    return tmp_path / "tasks"


def lmms(*names: str, **options: Any) -> EvaluationPlan:
    return EvaluationPlan.model_validate({"harness": "lmms-eval", "tasks": names, **options})


@pytest.mark.usefixtures("lmms_eval")
def test_lmms_eval_asks_an_upcycled_llava(
    model: Path, tasks: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = lmms("looks", "pairs", "reads", include_path=tasks, batch_size=2)
    found = evaluate_model(model, asked)
    assert [(s.task, s.metric, s.samples) for s in found.scores] == [
        (task, metric, count)
        for task, count in (("looks", 3), ("pairs", 1), ("reads", 1))
        for metric in ("exact_match", "first_letter.strict")
    ]
    assert [(score.value, score.stderr) for score in found.scores] == [(1.0, 0.0), (1.0, None)] * 3
    assert found.seconds > 0
    assert {"torch", "transformers"} <= found.versions.keys()
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("lmms_eval")
@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("films", "gives str for an image; ask for tasks on images and text"),
        ("ranks", "the task ranks compares likelihoods"),
        ("talks", "the task talks has several rounds"),
        ("lokos", "no task 'lokos'; did you mean 'looks'"),
    ],
)
def test_what_it_cannot_ask_is_told(model: Path, tasks: Path, task: str, message: str) -> None:
    with pytest.raises(EvaluationError, match=message):
        evaluate_model(model, lmms(task, include_path=tasks))


def test_an_absent_package_is_named_with_its_command() -> None:
    with pytest.raises(
        EvaluationError, match="lmms-eval: this package is not installed; run `pip install lmms-eval`"
    ):
        require(lmms("mme"))


def test_scores_of_its_results() -> None:
    given = {
        "results": {
            "mme": {
                "alias": "mme",
                "mme_perception_score,none": 1400.5,
                "mme_perception_score_stderr,none": "N/A",
            },
            "vizwiz_vqa_val": {
                "exact_match,none": 0.5,
                "exact_match_stderr,none": 0.1,
                "submission,none": None,
            },
            "judged": {"score,none": float("inf"), "flag,none": True},
        },
        "n-samples": {"mme": {"original": 2374, "effective": 2374}},
    }
    assert scores_of(given) == [
        Score("lmms-eval", "mme", "mme_perception_score", 1400.5, None, 2374),
        Score("lmms-eval", "vizwiz_vqa_val", "exact_match", 0.5, 0.1, None),
    ]
    assert scores_of({}) == []


def test_options_of_generation() -> None:
    assert generation_options({"max_new_tokens": 16, "temperature": 0, "top_p": 1.0, "num_beams": 1}) == {
        "max_new_tokens": 16, "num_beams": 1, "do_sample": False
    }  # fmt: skip
    assert generation_options({"temperature": 0.5, "top_p": 0.9})["top_p"] == 0.9
    assert generation_options({})["max_new_tokens"] == 1024
    assert cut("a. b", ["."]) == "a"
    assert cut("a. b", "b") == "a. "
    assert cut("a", None) == "a"


@pytest.fixture
def run(model: Path, digits_data: Path, tmp_path: Path) -> Path:
    """A run of one stage that is trained."""
    folder = RunFolder(tmp_path / "run")
    few = json.loads((digits_data / "heldout.json").read_text())[:6]
    (tmp_path / "few.json").write_text(json.dumps(few))
    stage = StagePlan(
        name="finetune",
        eval_data=(DataSource(path=tmp_path / "few.json", images=digits_data / "images"),),
        evaluate=({"harness": "questions", "batch_size": 3},),
    )
    plan = TrainingPlan(model_name_or_path=str(model), output_dir=folder.path, stages=(stage,))
    write_json(folder.plan, plan.model_dump(mode="json"))
    folder.stage("finetune").path.mkdir(parents=True)
    folder.stage("finetune").model.symlink_to(model)
    folder.stage("finetune").mark_done({"steps": 7})
    return folder.path


def test_half_of_the_held_out_records_is_asked(model: Path, run: Path, digits_data: Path) -> None:
    half = DataSource(path=run.parent / "few.json", images=digits_data / "images", fraction=0.5)
    evaluation = evaluate_model(model, EvaluationPlan(harness="questions"), (half,))
    asked = evaluation.scores[-1]
    assert asked.samples == 3
    assert asked.stderr == standard_error(asked.value, 3) > 0


def test_a_run_does_what_its_file_asks_for_once(run: Path) -> None:
    assert [stage.name for stage, _ in pending(run)] == ["finetune"]
    ((name, evaluation),) = evaluate_run(run)
    assert name == "finetune"
    assert evaluation.scores[-1].task == "all"
    assert evaluation.scores[-1].samples == 6
    assert not pending(run)
    assert not list(evaluate_run(run))
    kept = json.loads((run / "stages" / "finetune" / "evaluation.json").read_text())
    assert kept["version"] == 1
    assert kept["model"] == "stages/finetune/model"
    (entry,) = kept["evaluations"]
    assert entry == evaluation.to_json()
    assert entry["asked"]["harness"] == "questions"
    (row,) = read_metrics(RunFolder(run))
    assert row["stage"] == "finetune"
    assert row["step"] == 7
    assert row["evaluation.questions.all.accuracy"] == evaluation.scores[-1].value
    assert row["evaluation.questions.all.accuracy_stderr"] == evaluation.scores[-1].stderr
    metric = Metric(metric="evaluation.questions.all.accuracy")
    assert cell_values(run, [metric], ["finetune"]) == {metric.name: evaluation.scores[-1].value}
    assert metric.wins == "higher"
    assert Metric(metric="evaluation.lmms-eval.gqa.exact_match").wins == "higher"


def test_asking_again_replaces_and_asking_otherwise_adds(run: Path) -> None:
    list(evaluate_run(run))
    list(evaluate_run(run, EvaluationPlan(harness="questions", batch_size=3)))
    list(evaluate_run(run, EvaluationPlan(harness="questions", limit=1), "finetune"))
    kept = json.loads((run / "stages" / "finetune" / "evaluation.json").read_text())["evaluations"]
    assert [entry["asked"]["limit"] for entry in kept] == [None, 1]
    whole, few = "evaluation.questions.all.accuracy", "evaluation.questions.all.accuracy.limit-1"
    values = cell_values(run, [Metric(metric=whole), Metric(metric=few)], ["finetune"])
    assert values == {whole: kept[0]["scores"][-1]["value"], few: kept[1]["scores"][-1]["value"]}
    assert Metric(metric=few).wins == "higher"
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert whole not in rows[-1]
    assert f"{few}_stderr" in rows[-1]


def test_scores_go_where_the_stages_other_numbers_are(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = json.loads((run / "plan.json").read_text())
    plan["stages"][0]["report_to"] = ["tensorboard"]
    (run / "plan.json").write_text(json.dumps(plan))
    monkeypatch.delenv("TENSORBOARD_LOGGING_DIR", raising=False)
    ((_, evaluation),) = evaluate_run(run, EvaluationPlan(harness="questions", limit=1))
    events = EventAccumulator(str(run / "tensorboard" / "finetune")).Reload()
    assert set(events.Tags()["scalars"]) == evaluation.metrics().keys()
    (point,) = events.Scalars("evaluation.questions.all.accuracy.limit-1")
    assert (point.step, point.value) == (7, evaluation.scores[-1].value)
    page = HtmlPage(write_report(run).read_text(encoding="utf-8")).text
    assert "finetune questions all accuracy" in page
    assert "the first 1 samples alone" in page


def test_a_stage_that_is_not_trained(run: Path) -> None:
    (run / "stages" / "finetune" / "model").unlink()
    with pytest.raises(
        EvaluationError, match="stage finetune: it has no model yet; train it: `priorlang train --res"
    ):
        list(evaluate_run(run))


def test_a_trained_run_is_evaluated_in_a_process_of_its_own(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No launcher's variable reaches it, a failure of it is told, and what is done is not done again."""
    seen: list[tuple[list[str], set[str]]] = []

    def ran(code: int) -> Any:
        def pretend(
            command: list[str], *, env: dict[str, str], check: bool
        ) -> subprocess.CompletedProcess[str]:
            assert not check
            seen.append((command, set(env)))
            return subprocess.CompletedProcess(command, code)

        return pretend

    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setattr("dpsl.evaluate.run.subprocess.run", ran(0))
    evaluate_pending(run, quiet=True)
    ((command, names),) = seen
    assert command[1:] == ["-m", "priorlang", "evaluate", str(run), "--quiet"]
    assert not names & {"RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "TORCHELASTIC_RUN_ID"}
    monkeypatch.setattr("dpsl.evaluate.run.subprocess.run", ran(1))
    with pytest.raises(
        EvaluationError, match="the run is trained, its evaluation failed; mend it, then `priorlang eval"
    ):
        evaluate_pending(run)
    list(evaluate_run(run))
    evaluate_pending(run)
    assert len(seen) == 2


def invoke(*words: object) -> Result:
    return CliRunner().invoke(cli, ["evaluate", *map(str, words)])


def test_the_command_on_a_run_and_on_a_model(run: Path, model: Path, digits_data: Path) -> None:
    result = invoke(run)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("finetune: questions, ")
    assert result.stdout.splitlines()[-1].split()[:2] == ["all", "accuracy"]
    assert "nothing is asked for that is not there" in invoke(run).stderr
    few = ("--data", run.parent / "few.json", "--images", digits_data / "images")
    result = invoke(model, "--harness", "questions", *few, "--format", "json")
    assert json.loads(result.stdout)["evaluations"][0]["scores"][-1]["samples"] == 6


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--harness", "lmms-eval"], "`lmms-eval` needs `tasks`"),
        (["--tasks", "mme"], "say whose tasks: --harness"),
        (["--harness", "lmms"], "'lmms' is not one of"),
        (
            ["--harness", "lmms-eval", "--tasks", "mme"],
            "this package is not installed; run `pip install lmms-eval`",
        ),
        (["--harness", "questions", "--tasks", "colur"], "did you mean 'colour'"),
        (["--harness", "questions", "--include-path", "."], "`include_path` is for `lmms-eval`"),
        (["--stage", "fintune"], "the run has no stage `fintune`; there are finetune"),
    ],
)
def test_mistakes_on_a_run(run: Path, words: list[str], message: str) -> None:
    result = invoke(run, *words)
    assert result.exit_code == 2, result.output
    assert message in result.output


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "is no run: say which benchmark"),
        (["--harness", "questions"], "name the questions: --data FILE"),
        (["--harness", "questions", "--data", "none.json"], "--data none.json: no such file"),
        (
            ["--harness", "questions", "--data", __file__, "--images", "none"],
            "--images none: no such folder",
        ),
        (["--harness", "questions", "--stage", "a"], "leave out --stage"),
    ],
)
def test_mistakes_on_a_model(model: Path, words: list[str], message: str) -> None:
    result = invoke(model, *words)
    assert result.exit_code == 2, result.output
    assert message in result.output
    assert "there is no model here" in invoke(STAND_IN, "--harness", "questions", "--data", __file__).output


@pytest.mark.usefixtures("lmms_eval")
def test_a_folder_without_a_processor(model: Path, run: Path, tasks: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    for file in ("config.json", "model.safetensors"):
        (bare / file).symlink_to(model / file)
    few = ("--data", run.parent / "few.json", "--images", images_of(run))
    questions = invoke(bare, "--harness", "questions", *few)
    others = invoke(bare, "--harness", "lmms-eval", "--tasks", "looks", "--include-path", tasks)
    told = f"{bare}: no tokenizer or processor is in this folder; copy them beside the weights\n"
    assert (questions.exit_code, questions.stderr) == (2, f"error: {told}")
    assert (others.exit_code, told in others.stderr) == (2, True)


def test_a_text_model_is_not_asked_about_images(run: Path, tmp_path: Path) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "config.json").write_text('{"model_type": "llama"}')
    few = ("--data", run.parent / "few.json", "--images", images_of(run))
    result = invoke(tmp_path / "text", "--harness", "questions", *few)
    assert result.exit_code == 2
    assert "this llama model reads text alone; name the folder of a LLaVA" in result.stderr


def test_questions_whose_images_are_all_elsewhere_are_one_line(model: Path, tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image> Which?"}, {"from": "gpt", "value": "seven"}]
    records = [{"id": i, "image": f"{i}.png", "conversations": turns} for i in range(30)]
    (tmp_path / "many.json").write_text(json.dumps(records))
    options = ("--data", tmp_path / "many.json", "--images", tmp_path)
    (told,) = invoke(model, "--harness", "questions", *options).stderr.splitlines()
    assert told.endswith(
        f"record 0 (id 0): image {tmp_path / '0.png'} not found, and 29 more of the kind; "
        "`images` names the folder that image paths start from"
    )


def images_of(run: Path) -> Path:
    """The folder of the held-out images of a run."""
    folder = TrainingPlan.model_validate_json((run / "plan.json").read_text()).stages[0].eval_data[0].images
    assert folder is not None
    return folder


def test_a_folder_without_a_model() -> None:
    for words in (["--harness", "questions"], ["--harness", "questions", "--data", __file__], []):
        assert "nowhere: no such folder" in invoke("nowhere", *words).output
    assert "it is a file" in invoke(__file__, "--harness", "questions").output
