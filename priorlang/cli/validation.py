"""What `priorlang validate` does, once its options are known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from priorlang.cli.exits import CLEAN, FINDINGS, USAGE
from priorlang.cli.output import exit_code, print_findings, remark, write_json
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.human import summary

if TYPE_CHECKING:
    from priorlang.model_config import GivenModel
    from priorlang.phases import Prior
    from priorlang.semantics.exact import ExactValue


def validate(
    files: Sequence[str],
    *,
    output_format: str = "human",
    fix: bool = False,
    deny_warnings: bool = False,
    run: str | None = None,
    settings: Sequence[str] = (),
    model_config: str | None = None,
    quiet: bool = False,
) -> int:
    """Check files, say what was found, and give the exit code.

    Args:
        files: prior files, or training files with the priors they name.
        output_format: `human`, `json` or `sarif`.
        fix: apply automatic fixes first.
        deny_warnings: fail on warnings too.
        run: the folder of a run, or of one of its stages, whose routing to hold the priors to.
        settings: NAME=VALUE texts, parameters set from outside.
        model_config: a transformers config to hold the files to.
        quiet: no remarks on standard error.
    """
    findings: list[Finding] = []
    sources: dict[str, str] = {}
    lines: list[str] = []
    routing: list[dict[str, Any]] = []
    unreadable = False
    for file in files:
        try:
            if fix:
                _fix(file, settings, model_config, quiet=quiet)
            checked = _check(file, settings, model_config, run)
        except PriorError as error:
            checked = _Checked(list(error.findings))
        unreadable = unreadable or exit_code(checked.findings) == USAGE
        findings.extend(checked.findings)
        sources.update(checked.sources)
        lines.extend(line for line in checked.lines if line)
        routing.extend({"file": file, **document} for document in checked.routing)
    if output_format == "json":
        from priorlang.diagnostics.machine import findings_json

        document = findings_json(files, findings)
        write_json(document if run is None else {**document, "routing": routing})
    elif output_format == "sarif":
        from priorlang import __version__
        from priorlang.diagnostics.sarif import findings_sarif

        write_json(findings_sarif(findings, __version__))
    elif findings:
        print_findings(findings, sources, err=False)
    if output_format == "human":
        for line in lines:
            remark(line, quiet=quiet)
        if findings:
            remark(f"\n{summary(findings)}", quiet=quiet)
    return _exit(findings, deny_warnings=deny_warnings, unreadable=unreadable)


def _fix(file: str, settings: Sequence[str], model_config: str | None, *, quiet: bool) -> None:
    """Mend a prior file in place; a training file is left alone."""
    from priorlang.cli.fixing import fix_file
    from priorlang.syntax.source import read_source
    from priorlang.training import is_training_file

    source = read_source(file)
    if source.is_yaml and is_training_file(source):
        remark(f"{file}: --fix mends prior files, and this is a training file", quiet=quiet)
        return
    count = fix_file(source, _values(settings), _given(model_config))
    if count:
        remark(f"{file}: {count} {'fixes' if count > 1 else 'fix'} applied", quiet=quiet)


class _Checked(NamedTuple):
    """One file: its findings, the texts they point into, remarks for people, and its figures against a run."""

    findings: list[Finding]
    sources: Mapping[str, str] = MappingProxyType({})
    lines: tuple[str, ...] = ()
    routing: tuple[dict[str, Any], ...] = ()


def _check(file: str, settings: Sequence[str], model_config: str | None, run: str | None) -> _Checked:
    from priorlang.syntax.source import read_source
    from priorlang.training import is_training_file

    source = read_source(file)
    if source.is_yaml and is_training_file(source):
        return _check_training(file, settings, run)
    from priorlang.phases import Prior

    prior = Prior(source, _values(settings), _given(model_config))
    findings = list(prior.findings)
    if any(finding.severity is Severity.ERROR for finding in findings):
        return _Checked(findings, prior.sources)
    line = _summed_up(file, prior)
    if run is None:
        return _Checked(findings, prior.sources, (line,))
    from priorlang.cli.against_routing import hold_to_routing

    found, remarks, document = hold_to_routing(prior, run)
    measured = () if document is None else (document,)
    return _Checked([*findings, *found], prior.sources, (line, remarks), measured)


def _summed_up(file: str, prior: Prior) -> str:
    spec = prior.spec
    layers = len(spec.model.routed)
    return (
        f"{file}: {len(spec.rules)} rules, {layers * spec.class_count} cells "
        f"({layers} layers × {spec.class_count} token classes), {prior.distinct_priors} distinct priors"
    )


def _check_training(file: str, settings: Sequence[str], run: str | None) -> _Checked:
    from priorlang.training import load_plan

    try:
        plan = load_plan(file, settings)
    except PriorError as error:
        return _Checked(list(error.findings))
    line = f"{file}: a training file with {len(plan.stages)} stages"
    if plan.prior is None:
        return _Checked([], lines=(f"{line}, without a prior",))
    checked = _check(str(plan.prior), (), None, run)
    return checked._replace(lines=(line, *checked.lines))


def _given(model_config: str | None) -> GivenModel | None:
    if model_config is None:
        return None
    from priorlang.cli.options import given_by

    return given_by(model_config)


def _values(settings: Sequence[str]) -> dict[str, ExactValue]:
    if not settings:
        return {}
    from priorlang.settings import parse_settings

    return parse_settings(settings)


def _exit(findings: list[Finding], *, deny_warnings: bool, unreadable: bool) -> int:
    if unreadable:
        return USAGE
    severities = {finding.severity for finding in findings}
    failed = Severity.ERROR in severities or (deny_warnings and Severity.WARNING in severities)
    return FINDINGS if failed else CLEAN
