"""lmms-eval on a model of ours: its tasks and its metrics, our chat format and our classes.

Its own `llava_hf` knows dense LLaVAs by their model type alone, so the model is handed over as an object. Everything
of lmms-eval is imported here and only when it is used: importing it changes the process, whose random state, log and
file locks it takes over.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from dpsl.errors import EvaluationError
from dpsl.evaluate.scores import Score
from priorlang.diagnostics.suggest import closest
from priorlang.training.evaluation import LMMS_EVAL, EvaluationPlan

PROMPTS = "llava_hf"
"""Tasks word their prompts differently for some models; ours take those of LLaVA."""
NO_METRICS = ("alias", "samples")
"""What stands among the metrics of a task without being one."""
MOST_TOKENS = 1024
"""What lmms-eval's own LLaVA writes at most where a task sets no limit."""


def check_tasks(asked: EvaluationPlan) -> None:
    """Refuse tasks that lmms-eval does not have.

    Raises:
        EvaluationError: naming the first, and the nearest that there is.
    """
    known = set(_task_manager(_folder(asked)).all_tasks)
    unknown = [task for task in asked.tasks if task not in known]
    if unknown:
        near = closest(unknown[0], known)
        hint = f"did you mean {near!r}?" if near else "`python -m lmms_eval --tasks list` shows what there is"
        raise _error(f"it has no task {unknown[0]!r}", hint)


def run_lmms(model: Path, asked: EvaluationPlan, _held_out: tuple[Any, ...]) -> list[Score]:
    """Scores of a model folder on tasks of lmms-eval, in this process and on one device.

    Raises:
        EvaluationError: lmms-eval fails.
    """
    from dpsl.evaluate.lmms_model import lmms_model

    try:
        with redirect_stdout(sys.stderr):
            tasks = _task_manager(_folder(asked))
            results = import_module("lmms_eval.evaluator").simple_evaluate(
                model=lmms_model(model, asked.batch_size),
                tasks=list(asked.tasks),
                limit=asked.limit,
                batch_size=asked.batch_size,
                task_manager=tasks,
                log_samples=False,
                **asked.arguments,
            )
    except (OSError, ValueError, KeyError, TypeError, AssertionError, RuntimeError, ImportError) as error:
        raise _error(f"it failed with {type(error).__name__}: {error}", "see what it says above") from error
    scores = scores_of(results or {})
    if not scores:
        raise _error("it gave no score", "some tasks only write answers for a server to judge")
    return scores


def scores_of(results: Mapping[str, Any]) -> list[Score]:
    """The numbers of what `simple_evaluate` returns: `results[task]["metric,filter"]` with `"metric_stderr,filter"`.

    A filter other than `none` is part of the metric's name. What is no finite number is left out.
    """
    scores: list[Score] = []
    for task, found in results.get("results", {}).items():
        for key, value in found.items():
            metric, _, kind = key.partition(",")
            if key in NO_METRICS or "_stderr" in metric or not _is_number(value):
                continue
            stderr = found.get(f"{metric}_stderr,{kind}")
            samples = results.get("n-samples", {}).get(task, {}).get("effective")
            scores.append(
                Score(
                    LMMS_EVAL,
                    task,
                    metric if kind in ("", "none") else f"{metric}.{kind}",
                    float(value),
                    float(stderr) if _is_number(stderr) else None,
                    int(samples) if _is_number(samples) else None,
                )
            )
    return scores


def images_of(visuals: Iterable[Any]) -> list[Any]:
    """Pillow images; videos and sounds are refused.

    Raises:
        EvaluationError: a task gives something else.
    """
    from PIL.Image import Image

    images = list(visuals)
    other = [type(item).__name__ for item in images if not isinstance(item, Image)]
    if other:
        raise _error(f"a task gives {other[0]} for an image", "ask for tasks on images and text")
    return images


def cut(text: str, ends: str | Sequence[str] | None) -> str:
    """The text up to the first of `ends`, as `generation_kwargs: {until: …}` of a task asks."""
    for end in [ends] if isinstance(ends, str) else ends or ():
        text = text.split(end)[0] if end else text
    return text


def generation_options(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A task's `generation_kwargs` as options of transformers' `generate`; greedy where the temperature is 0."""
    sampled = float(asked.get("temperature") or 0) > 0
    options = {
        "max_new_tokens": int(asked.get("max_new_tokens") or MOST_TOKENS),
        "num_beams": int(asked.get("num_beams") or 1),
        "do_sample": sampled,
    }
    return options | ({"temperature": asked["temperature"], "top_p": asked.get("top_p")} if sampled else {})


def device() -> torch.device:
    """Where the model is evaluated."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@cache
def _task_manager(folder: str | None) -> Any:
    """An index of all its tasks, and of those in a folder; to make it takes seconds."""
    with redirect_stdout(sys.stderr):
        import_module("lmms_eval.models")  # quietens its log
        return import_module("lmms_eval.tasks").TaskManager(
            "WARNING", include_path=folder, model_name=PROMPTS
        )


def _folder(asked: EvaluationPlan) -> str | None:
    return None if asked.include_path is None else str(asked.include_path)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _error(problem: str, fix: str) -> EvaluationError:
    return EvaluationError("evaluate: lmms-eval", problem, fix)
