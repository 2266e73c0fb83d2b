"""`priorlang diff A B`"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from priorlang.cli.exits import CLEAN, FINDINGS
from priorlang.cli.options import always_quiet_option, given_by, model_option, set_option
from priorlang.cli.output import fail, write_json
from priorlang.diagnostics.finding import PriorError

if TYPE_CHECKING:
    from priorlang.compare.difference import Difference
    from priorlang.compare.load import Subject
    from priorlang.compare.runs import RunComparison
    from priorlang.model_config import GivenModel
    from priorlang.semantics.exact import ExactValue


@click.command("diff")
@click.argument("sides", nargs=-1, required=True, metavar="A B")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["human", "json", "markdown"]),
    default="human",
    show_default=True,
    help="How to print; markdown is for a pull request.",
)
@click.option("--all", "everything", is_flag=True, help="Print every region, not the largest effects alone.")
@click.option(
    "--git",
    "for_git",
    is_flag=True,
    help="Take what git gives to `diff.prior.command` in place of A B, and exit with 0, as git expects.",
)
@click.option("--exit-code", is_flag=True, help="With --git, exit with 1 where the priors differ.")
@set_option
@model_option
@always_quiet_option
def command(
    sides: tuple[str, ...],
    output_format: str,
    everything: bool,
    for_git: bool,
    exit_code: bool,
    settings: tuple[str, ...],
    model_config: str | None,
) -> None:
    """Compare what two priors ask for; each is a prior file, a table or a run folder.

    Exits with 0 where they ask for the same, with 1 where they differ. Of two runs the results are shown
    as well, and do not count. --set applies to both.
    """
    from priorlang.settings import parse_settings

    try:
        values, model = parse_settings(settings), given_by(model_config)
        if for_git:
            differs = _show_for_git(sides, values, model)
            sys.exit(FINDINGS if differs and exit_code else CLEAN)
        if len(sides) != 2:
            raise click.UsageError(f"diff compares two priors, A and B; {len(sides)} given")
        difference, runs = _compared(*(_load(path, values, model) for path in sides))
    except PriorError as error:
        fail(error)
    _print(difference, runs, output_format, everything=everything)
    sys.exit(CLEAN if difference.identical else FINDINGS)


def _load(
    path: str, values: Mapping[str, ExactValue], model: GivenModel | None, stands_at: str | None = None
) -> Subject:
    from priorlang.compare.load import load_subject

    return load_subject(path, values, model, stands_at)


def _compared(old: Subject, new: Subject) -> tuple[Difference, RunComparison | None]:
    from priorlang.compare.difference import compare
    from priorlang.compare.runs import compare_runs

    runs = compare_runs(old.run, new.run) if old.run is not None and new.run is not None else None
    return compare(old.side, new.side), runs


def _print(
    difference: Difference, runs: RunComparison | None, output_format: str, *, everything: bool
) -> None:
    from priorlang.compare.human import difference_text
    from priorlang.compare.machine import difference_json
    from priorlang.compare.markdown import difference_markdown

    if output_format == "json":
        write_json(difference_json(difference, runs))
    elif output_format == "markdown":
        click.echo(difference_markdown(difference, runs, everything=everything))
    else:
        click.echo(difference_text(difference, runs, everything=everything))


def _show_for_git(words: tuple[str, ...], values: Mapping[str, ExactValue], model: GivenModel | None) -> bool:
    """Print one file's change; whether there is any. A file that cannot be read as a prior is shown as text."""
    from priorlang.compare.git import git_change, text_change

    try:
        change = git_change(words)
    except ValueError as error:
        raise click.UsageError(f"--git: {error}") from None
    if change is None:
        click.echo(f"prior {words[0]}: not merged yet")
        return True
    moved = "" if change.path == change.path_after else f" → {change.path_after}"
    click.echo(f"prior {change.path}{moved}")
    try:
        old = _load(change.before, values, model, change.path)
        new = _load(change.after, values, model, change.path_after)
    except PriorError as error:
        click.echo(f"cannot be compared by meaning: {error.findings[0].message}\n{text_change(change)}\n")
        return True
    difference, _ = _compared(old, new)
    named = replace(difference, before=change.path, after=change.path_after)
    _print(named, None, "human", everything=False)
    click.echo()
    return not difference.identical
