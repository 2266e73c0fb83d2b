"""`priorlang upcycle MODEL -o OUT`"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from priorlang.cli.engine import require_engine
from priorlang.cli.exits import USAGE
from priorlang.cli.options import quiet_option
from priorlang.cli.output import fail, remark, say
from priorlang.diagnostics.finding import PriorError

if TYPE_CHECKING:
    from priorlang.training.upcycle import UpcyclePlan

EXAMPLE = "experts=4"


@click.command("upcycle")
@click.argument("model")
@click.option("-o", "--output", "output", required=True, metavar="OUT", help="A new folder for the mixture.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="A key of `upcycle:` in a training file, as granularity=4 or branches=[a/,b/]; may be repeated.",
)
@click.option(
    "--format", "form", type=click.Choice(["human", "json"]), default="human", help="Of the receipt."
)
@quiet_option
def command(model: str, output: str, settings: tuple[str, ...], form: str, quiet: bool) -> None:
    """Make a dense checkpoint folder a mixture of experts, one layer in memory at a time."""
    require_engine("upcycling")
    try:
        plan = _plan(settings)
    except PriorError as error:
        fail(error)
    from dpsl.errors import DpslError
    from dpsl.upcycle import upcycle_folder

    try:
        receipt = upcycle_folder(model, output, **plan.model_dump())
    except DpslError as error:
        say(f"error: {error}", err=True)
        sys.exit(USAGE)
    if form == "json":
        say(json.dumps(json.loads(receipt.to_json()), indent=2, ensure_ascii=False))
    else:
        for line in receipt.lines():
            say(line)
    remark(f"{output}: written, with receipt.json", quiet=quiet)


def _plan(settings: tuple[str, ...]) -> UpcyclePlan:
    """The options, read as they are in a training file.

    Raises:
        PriorError: an unknown key, or a value that cannot be.
    """
    from pydantic import ValidationError

    from priorlang.diagnostics.finding import Finding, Severity
    from priorlang.diagnostics.span import whole_file
    from priorlang.training.complaints import findings_of
    from priorlang.training.overrides import parse_overrides, with_overrides
    from priorlang.training.upcycle import UpcyclePlan
    from priorlang.training.upcycle_checks import problems
    from priorlang.training.yaml_tree import Place, SourceTree

    whole = whole_file(" ".join(f"--set {text}" for text in settings))
    block = with_overrides(
        SourceTree("--set", {}, {(): Place(whole, whole)}), parse_overrides(settings, EXAMPLE)
    )
    places = {("upcycle", *path): place for path, place in block.places.items()}
    tree = SourceTree("--set", {"upcycle": block.root}, places)
    try:
        plan = UpcyclePlan.model_validate(block.root)
    except ValidationError as error:
        raise PriorError(findings_of(error, tree, lambda path: ("upcycle", *path))) from None
    wrong = [
        Finding(
            "invalid-value", Severity.ERROR, problem.message(plan), tree.value_span(("upcycle", problem.key))
        )
        for problem in problems(plan)
    ]
    if wrong:
        raise PriorError(wrong)
    return plan
