"""Which harnesses there are, what each needs, and what it says beforehand about what it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dpsl.errors import EvaluationError
from dpsl.evaluate.scores import Score
from priorlang.training.evaluation import LMMS_EVAL, QUESTIONS, EvaluationPlan


@dataclass(frozen=True)
class Harness:
    """One way to evaluate.

    Attributes:
        module: what is imported; None where it is built in.
        install: the command that installs it.
        packages: whose versions are noted.
        check: refuses what it cannot do, without a model.
        run: the model's folder, what is asked, and the held-out sources, to scores.
    """

    module: str | None
    install: str
    packages: tuple[str, ...]
    check: Callable[[EvaluationPlan], None]
    run: Callable[[Path, EvaluationPlan, tuple[Any, ...]], list[Score]]


def require(asked: EvaluationPlan) -> Harness:
    """The harness of an entry.

    Raises:
        EvaluationError: its package is not installed, or it does not know a task.
    """
    harness = _harness(asked.harness)
    if harness.module is not None and find_spec(harness.module) is None:
        raise EvaluationError(
            f"evaluate: {asked.harness}",
            "this package is not installed",
            f"run `{harness.install}`, or leave it out",
        )
    harness.check(asked)
    return harness


def versions_of(harness: Harness) -> Mapping[str, str]:
    """Package → version, of those that are installed."""
    found = {}
    for package in harness.packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _harness(name: str) -> Harness:
    if name == QUESTIONS:
        from dpsl.evaluate.questions import ask_questions

        return Harness(None, "", ("priorlang", "torch", "transformers"), lambda _: None, ask_questions)
    assert name == LMMS_EVAL
    from dpsl.evaluate.lmms import check_tasks, run_lmms

    packages = ("priorlang", "torch", "transformers", "lmms-eval", "datasets")
    return Harness("lmms_eval", "pip install lmms-eval", packages, check_tasks, run_lmms)
