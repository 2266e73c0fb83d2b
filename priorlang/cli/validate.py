"""`priorlang validate FILE…`"""

from __future__ import annotations

import sys

import click

from priorlang.cli.exits import CLEAN, FINDINGS, USAGE
from priorlang.cli.options import given_by, model_option, quiet_option, set_option
from priorlang.cli.output import exit_code, print_findings, remark, write_json
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.human import summary
from priorlang.diagnostics.machine import findings_json


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
@set_option
@model_option
@quiet_option
def command(
    files: tuple[str, ...],
    output_format: str,
    fix: bool,
    deny_warnings: bool,
    settings: tuple[str, ...],
    model_config: str | None,
    quiet: bool,
) -> None:
    """Check prior files, or training files with the priors they name."""
    findings: list[Finding] = []
    sources: dict[str, str] = {}
    clean: list[str] = []
    unreadable = False
    for file in files:
        try:
            if fix:
                _fix(file, settings, model_config, quiet=quiet)
            found, texts, line = _check(file, settings, model_config)
        except PriorError as error:
            found, texts, line = list(error.findings), {}, ""
        unreadable = unreadable or exit_code(found) == USAGE
        findings.extend(found)
        sources.update(texts)
        if line:
            clean.append(line)
    if output_format == "json":
        write_json(findings_json(files, findings))
    elif output_format == "sarif":
        from priorlang import __version__
        from priorlang.diagnostics.sarif import findings_sarif

        write_json(findings_sarif(findings, __version__))
    elif findings:
        print_findings(findings, sources, err=False)
    if output_format == "human":
        for line in clean:
            remark(line, quiet=quiet)
        if findings:
            remark(f"\n{summary(findings)}", quiet=quiet)
    sys.exit(_exit(findings, deny_warnings=deny_warnings, unreadable=unreadable))


def _fix(file: str, settings: tuple[str, ...], model_config: str | None, *, quiet: bool) -> None:
    """Mend a prior file in place; a training file is left alone."""
    from priorlang.cli.fixing import fix_file
    from priorlang.settings import parse_settings
    from priorlang.syntax.source import read_source
    from priorlang.training import is_training_file

    source = read_source(file)
    if source.is_yaml and is_training_file(source):
        remark(f"{file}: --fix mends prior files, and this is a training file", quiet=quiet)
        return
    count = fix_file(source, parse_settings(settings), given_by(model_config))
    if count:
        remark(f"{file}: {count} {'fixes' if count > 1 else 'fix'} applied", quiet=quiet)


def _check(
    file: str, settings: tuple[str, ...], model_config: str | None
) -> tuple[list[Finding], dict[str, str], str]:
    """The findings of one file, the texts they point into, and a line that sums up a clean prior."""
    from priorlang.syntax.source import read_source
    from priorlang.training import is_training_file

    source = read_source(file)
    if source.is_yaml and is_training_file(source):
        return _check_training(file, settings)
    from priorlang.phases import Prior
    from priorlang.settings import parse_settings

    prior = Prior(source, parse_settings(settings), given_by(model_config))
    findings = list(prior.findings)
    line = ""
    if not any(finding.severity is Severity.ERROR for finding in findings):
        spec, cells = prior.spec, prior.cells
        assert cells is not None
        layers = len(spec.model.routed)
        distinct = {(cell.alpha, cell.weight) for cell in cells.priors.values() if cell is not None}
        line = (
            f"{file}: {len(spec.rules)} rules, {layers * spec.class_count} cells "
            f"({layers} layers × {spec.class_count} token classes), {len(distinct)} distinct priors"
        )
    return findings, prior.sources, line


def _check_training(file: str, settings: tuple[str, ...]) -> tuple[list[Finding], dict[str, str], str]:
    from priorlang.training import load_plan

    try:
        plan = load_plan(file, settings)
    except PriorError as error:
        return list(error.findings), {}, ""
    if plan.prior is None:
        return [], {}, f"{file}: a training file with {len(plan.stages)} stages, without a prior"
    findings, sources, line = _check(str(plan.prior), (), None)
    return findings, sources, f"{file}: a training file with {len(plan.stages)} stages\n{line}".rstrip()


def _exit(findings: list[Finding], *, deny_warnings: bool, unreadable: bool) -> int:
    if unreadable:
        return USAGE
    severities = {finding.severity for finding in findings}
    failed = Severity.ERROR in severities or (deny_warnings and Severity.WARNING in severities)
    return FINDINGS if failed else CLEAN
