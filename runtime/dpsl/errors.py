"""The errors that the engine raises for a user's mistake: each names the place and the fix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class DpslError(Exception):
    """Something the user can mend.

    Args:
        place: what is wrong and where, `layer 5 (model.layers.5.mlp.gate)`.
        problem: what was found there.
        fix: what to do about it.
    """

    def __init__(self, place: str, problem: str, fix: str) -> None:
        self.place = place
        self.problem = problem
        self.fix = fix
        super().__init__(f"{place}: {problem}; {fix}")


class AttachError(DpslError):
    """A prior table and a model, or the tokens given for it, do not fit together."""


class ModelError(DpslError):
    """A model or its processor cannot be loaded, or put together."""


class EvaluationError(DpslError):
    """A benchmark cannot be run, or came to nothing."""


class UpcycleError(DpslError):
    """A model cannot be made a mixture of experts as asked."""


class UpcycleOptionsError(UpcycleError):
    """Several options cannot be. Place, problem and fix are those of the first.

    Args:
        found: one error for each.
    """

    def __init__(self, found: Sequence[UpcycleError]) -> None:
        super().__init__(found[0].place, found[0].problem, found[0].fix)
        self.found = tuple(found)

    def __str__(self) -> str:
        return "\n  ".join([f"{len(self.found)} options cannot be:", *map(str, self.found)])


@dataclass(frozen=True)
class DataProblem:
    """One thing wrong with the data: where, what, and what to do about it."""

    place: str
    problem: str
    fix: str

    def __str__(self) -> str:
        return f"{self.place}: {self.problem}; {self.fix}"


class DataError(DpslError):
    """The data cannot be trained on. Place, problem and fix are those of the first problem.

    Args:
        problems: everything found; the message lists the first ten kinds, each with its first place. Where there
            are more kinds, those that the same would mend are one.
    """

    SHOWN = 10

    def __init__(self, problems: Sequence[DataProblem]) -> None:
        first = problems[0]
        super().__init__(first.place, first.problem, first.fix)
        self.problems = tuple(problems)

    def __str__(self) -> str:
        if len(self.problems) == 1:
            return str(self.problems[0])
        alike: dict[tuple[str, str], list[DataProblem]] = {}
        for problem in self.problems:
            alike.setdefault((problem.problem, problem.fix), []).append(problem)
        if len(alike) > self.SHOWN:
            alike = {}
            for problem in self.problems:
                alike.setdefault(("", problem.fix), []).append(problem)
        lines = [_first_of(group) for group in list(alike.values())[: self.SHOWN]]
        if len(alike) > self.SHOWN:
            lines.append(f"… and {len(alike) - self.SHOWN:,} more kinds")
        if len(lines) == 1 and ("", self.fix) in alike:
            return lines[0]
        return "\n  ".join([f"{len(self.problems):,} problems in the data:", *lines])


def _first_of(alike: Sequence[DataProblem]) -> str:
    first, others = alike[0], len(alike) - 1
    if any(other.problem != first.problem for other in alike):
        return f"{first.place}: {first.problem}, and {others:,} more of the kind; {first.fix}"
    return f"{first.place} and {others:,} more: {first.problem}; {first.fix}" if others else str(first)
