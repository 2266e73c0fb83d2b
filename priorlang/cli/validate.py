"""`priorlang validate FILE…`"""

from __future__ import annotations

import sys

import click

from priorlang.cli.options import model_option, priors_only_option, quiet_option, set_option


@click.command("validate")
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option(
    "--format",
    "output_format",
    type=click.Choice(["human", "json", "sarif"]),
    default="human",
    show_default=True,
    help="How to print the findings.",
)
@click.option("--fix", "fix", is_flag=True, help="Apply automatic fixes to the files, then check them.")
@click.option("--deny-warnings", is_flag=True, help="Exit with 1 on warnings too.")
@click.option(
    "--routing",
    "run",
    metavar="RUN",
    help="Hold the prior to the routing of a run: the folder of a run, or of one of its stages.",
)
@click.option(
    "--shares",
    metavar="SHARES",
    help="Token shares, modality.vision=0.85,modality.language=0.15, or a .json or .yaml file of counts.",
)
@click.option(
    "--batch-tokens",
    type=float,
    metavar="N",
    help="Tokens in a global batch, to find populations that are too small.",
)
@click.option("--sensitivity", is_flag=True, help="Say what moving each number by a fifth does to the loads.")
@set_option
@model_option
@priors_only_option
@quiet_option
def command(
    files: tuple[str, ...],
    output_format: str,
    fix: bool,
    deny_warnings: bool,
    run: str | None,
    shares: str | None,
    batch_tokens: float | None,
    sensitivity: bool,
    settings: tuple[str, ...],
    model_config: str | None,
    priors_only: bool,
    quiet: bool,
) -> None:
    """Check prior files, training files with the priors they name, or grid files."""
    from priorlang.cli.validation import validate
    from priorlang.syntax.source import may_be_prior

    if priors_only:
        files = tuple(file for file in files if may_be_prior(file))
    sys.exit(
        validate(
            files,
            output_format=output_format,
            fix=fix,
            deny_warnings=deny_warnings,
            run=run,
            shares=shares,
            batch_tokens=batch_tokens,
            sensitivity=sensitivity,
            settings=settings,
            model_config=model_config,
            quiet=quiet,
        )
    )
