"""`priorlang evaluate RUN|MODEL`"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from priorlang.cli.engine import require_engine
from priorlang.cli.exits import USAGE
from priorlang.cli.options import quiet_option
from priorlang.cli.output import remark, say

if TYPE_CHECKING:
    from dpsl.evaluate import Evaluation
    from priorlang.training.evaluation import EvaluationPlan


@click.command("evaluate")
@click.argument("folder", metavar="RUN|MODEL")
@click.option(
    "--harness",
    type=click.Choice(["questions", "lmms-eval"]),
    help="Whose benchmarks; without it, what the run's training file asks for and is not there yet.",
)
@click.option("--tasks", metavar="A,B", help="The harness's own names of tasks.")
@click.option("--stage", metavar="NAME", help="The stage of a run; by default the last.")
@click.option(
    "--limit", type=click.IntRange(min=1), metavar="N", help="Only the first N samples of each task."
)
@click.option("--batch-size", type=click.IntRange(min=1), metavar="N", default=1, help="Samples at once.")
@click.option(
    "--data", "data", metavar="FILE", help="For questions on a model's folder: records in LLaVA's JSON."
)
@click.option("--images", metavar="DIR", help="The folder that image paths of --data start from.")
@click.option("--include-path", metavar="DIR", help="For lmms-eval: a folder with tasks of your own.")
@click.option(
    "--format", "form", type=click.Choice(["human", "json"]), default="human", help="Of the scores."
)
@quiet_option
def command(
    folder: str,
    harness: str | None,
    tasks: str | None,
    stage: str | None,
    limit: int | None,
    batch_size: int,
    data: str | None,
    images: str | None,
    include_path: str | None,
    form: str,
    quiet: bool,
) -> None:
    """Let a trained model take benchmarks: its held-out questions, or those of lmms-eval.

    In a run the scores are kept in stages/NAME/evaluation.json and metrics.jsonl.
    """
    require_engine("evaluating")
    from dpsl.errors import DpslError
    from dpsl.train.processes import prepare_process

    asked = _asked(harness, tasks, limit, batch_size, include_path)
    prepare_process()
    try:
        found = (
            _run(Path(folder), asked, stage)
            if _is_run(folder)
            else _model(folder, asked, stage, data, images)
        )
    except DpslError as error:
        say(f"error: {error}", err=True)
        sys.exit(USAGE)
    _show(found, form)
    if not found:
        remark(f"{folder}: nothing is asked for that is not there; --harness asks for more", quiet=quiet)


def _asked(
    harness: str | None, tasks: str | None, limit: int | None, batch_size: int, include_path: str | None
) -> EvaluationPlan | None:
    from priorlang.training.evaluation import EvaluationPlan, problems

    if harness is None:
        if tasks or limit or include_path:
            raise click.UsageError("say whose tasks: --harness questions or --harness lmms-eval")
        return None
    asked = EvaluationPlan.model_validate(
        {
            "harness": harness,
            "tasks": [name.strip() for name in (tasks or "").split(",") if name.strip()],
            "limit": limit,
            "batch_size": batch_size,
            "include_path": str(Path(include_path).resolve()) if include_path else None,
        }
    )
    for _, message in problems(asked, held_out=True):
        raise click.UsageError(message)
    return asked


def _is_run(folder: str) -> bool:
    return (Path(folder) / "plan.json").is_file()


def _run(run: Path, asked: EvaluationPlan | None, stage: str | None) -> list[tuple[str, Evaluation]]:
    from dpsl.evaluate import evaluate_run
    from dpsl.evaluate.run import plan_of

    stages = [known.name for known in plan_of(run).stages]
    if stage is not None and stage not in stages:
        raise click.UsageError(f"the run has no stage `{stage}`; there are {', '.join(stages)}")
    return list(evaluate_run(run, asked, stage))


def _model(
    folder: str, asked: EvaluationPlan | None, stage: str | None, data: str | None, images: str | None
) -> list[tuple[str, Evaluation]]:
    from dpsl.evaluate import evaluate_model
    from priorlang.training.plan import DataSource

    if not Path(folder).is_dir():
        reason = "it is a file" if Path(folder).exists() else "no such folder"
        raise click.UsageError(f"{folder}: {reason}; name a run, or a model's folder")
    if asked is None:
        raise click.UsageError(f"{folder} is no run: say which benchmark, as --harness lmms-eval --tasks mme")
    if stage is not None:
        raise click.UsageError(f"{folder} is no run: leave out --stage")
    if asked.harness == "questions" and data is None:
        raise click.UsageError("name the questions: --data FILE, and --images DIR where they have images")
    sources: tuple[Any, ...] = ()
    if data is not None:
        _check_given(Path(data), Path(images) if images else None)
        sources = (DataSource(path=Path(data), images=Path(images) if images else None),)
    return [(folder, evaluate_model(Path(folder), asked, sources))]


def _check_given(data: Path, images: Path | None) -> None:
    if not data.is_file():
        raise click.UsageError(f"--data {data}: {'it is a folder' if data.is_dir() else 'no such file'}")
    if images is not None and not images.is_dir():
        raise click.UsageError(
            f"--images {images}: {'it is a file' if images.exists() else 'no such folder'}"
        )


def _show(found: list[tuple[str, Evaluation]], form: str) -> None:
    from dpsl.evaluate.scores import lines

    if form == "json":
        entries = [{"of": name, **evaluation.to_json()} for name, evaluation in found]
        say(json.dumps({"version": 1, "evaluations": entries}, indent=2, ensure_ascii=False))
        return
    for name, evaluation in found:
        say(f"{name}: {evaluation.asked.harness}, {evaluation.seconds:.0f} s")
        for line in lines(evaluation):
            say(line)
