"""What `priorlang validate` does, once its options are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from priorlang.cli.exits import CLEAN, FINDINGS, USAGE
from priorlang.cli.output import exit_code, print_findings, remark, say, write_json
from priorlang.diagnostics.finding import Finding, PriorError, Severity
from priorlang.diagnostics.human import counted, summary

if TYPE_CHECKING:
    from pathlib import Path

    from priorlang.diagnostics.span import Span
    from priorlang.model_config import GivenModel
    from priorlang.phases import Given, Prior
    from priorlang.semantics.exact import ExactValue
    from priorlang.training.load import LoadedPlan
    from priorlang.training.plan import StagePlan


def validate(
    files: Sequence[str],
    *,
    output_format: str = "human",
    fix: bool = False,
    deny_warnings: bool = False,
    run: str | None = None,
    shares: str | None = None,
    batch_tokens: float | None = None,
    sensitivity: bool = False,
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
        shares: token shares, as text or as the name of a file of counts.
        batch_tokens: tokens in a global batch.
        sensitivity: say what each number of a prior does.
        settings: NAME=VALUE texts, parameters set from outside.
        model_config: a transformers config to hold the files to.
        quiet: no remarks on standard error.
    """
    findings: list[Finding] = []
    sources: dict[str, str] = {}
    lines: list[str] = []
    tables: list[str] = []
    routing: list[dict[str, Any]] = []
    moves: list[dict[str, Any]] = []
    unreadable = False
    try:
        asked = _Asked(
            settings, _given(model_config), run, _evidence(shares, batch_tokens), sensitivity, quiet
        )
    except PriorError as error:
        findings, files, unreadable = list(error.findings), (), True
    for file in files:
        try:
            if fix:
                _fix(file, settings, model_config, quiet=quiet)
            checked = _check(file, asked)
        except PriorError as error:
            checked = _Checked(list(error.findings))
        unreadable = unreadable or exit_code(checked.findings) == USAGE
        findings.extend(checked.findings)
        sources.update(checked.sources)
        lines.extend(line for line in checked.lines if line)
        tables.extend(checked.tables)
        routing.extend({"file": file, **document} for document in checked.routing)
        moves.extend({"file": file, **document} for document in checked.moves)
    if output_format == "json":
        from priorlang.diagnostics.machine import findings_json

        document = findings_json(files, findings)
        if run is not None:
            document["routing"] = routing
        if sensitivity:
            document["sensitivity"] = moves
        write_json(document)
    elif output_format == "sarif":
        from priorlang import __version__
        from priorlang.diagnostics.sarif import findings_sarif

        write_json(findings_sarif(findings, __version__))
    elif findings:
        print_findings(findings, sources, err=False)
    if output_format == "human":
        for table in tables:
            say(f"\n{table}" if findings else table)
        for line in lines:
            remark(line, quiet=quiet)
        if findings:
            remark(f"\n{summary(findings)}", quiet=quiet)
    return _exit(findings, deny_warnings=deny_warnings, unreadable=unreadable)


def _fix(file: str, settings: Sequence[str], model_config: str | None, *, quiet: bool) -> None:
    """Mend a prior file in place; a training file is left alone."""
    from priorlang.cli.fixing import fix_file
    from priorlang.syntax.source import read_source
    from priorlang.training import is_grid_file, is_training_file

    source = read_source(file)
    if source.is_yaml and (is_grid_file(source) or is_training_file(source)):
        kind = "grid" if is_grid_file(source) else "training"
        remark(f"{file}: --fix mends prior files, and this is a {kind} file", quiet=quiet)
        return
    fixed = fix_file(source, _values(settings), _given(model_config))
    if fixed.count:
        remark(f"{file}: {counted(fixed.count, 'fix', 'es')} applied", quiet=quiet)
    for line in fixed.left:
        remark(line, quiet=quiet)


class _Asked(NamedTuple):
    """What is asked of every file."""

    settings: Sequence[str]
    model: GivenModel | None
    run: str | None
    evidence: Given
    sensitivity: bool
    quiet: bool


class _Checked(NamedTuple):
    """One file: its findings, the texts they point into, remarks for people, its figures against a run, and what
    its numbers do, as a table and as a document.
    """

    findings: list[Finding]
    sources: Mapping[str, str] = MappingProxyType({})
    lines: tuple[str, ...] = ()
    routing: tuple[dict[str, Any], ...] = ()
    tables: tuple[str, ...] = ()
    moves: tuple[dict[str, Any], ...] = ()


def _check(file: str, asked: _Asked) -> _Checked:
    from priorlang.syntax.source import read_source
    from priorlang.training import is_grid_file, is_training_file

    source = read_source(file)
    if source.is_yaml and is_grid_file(source):
        from priorlang.cli.grid_check import check_grid

        if asked.settings:
            from priorlang.diagnostics.span import whole_file

            message = "`--set` reaches prior and training files: a grid has a `set:` of its own"
            return _Checked([Finding("invalid-value", Severity.ERROR, message, whole_file(file))])
        return _Checked([], lines=(check_grid(file),))
    if source.is_yaml and is_training_file(source):
        return _check_training(file, asked)
    from priorlang.phases import Prior

    prior = Prior(source, _values(asked.settings), asked.model, evidence=asked.evidence)
    return _judged(file, prior, asked)


def _judged(file: str, prior: Prior, asked: _Asked) -> _Checked:
    findings = list(prior.findings)
    if any(finding.severity is Severity.ERROR for finding in findings):
        return _Checked(findings, prior.sources)
    checked = _Checked(findings, prior.sources, (_summed_up(file, prior),))
    if asked.run is not None:
        from priorlang.cli.against_routing import hold_to_routing

        found, remarks, document = hold_to_routing(prior, asked.run)
        measured = () if document is None else (document,)
        checked = checked._replace(
            findings=[*findings, *found], lines=(*checked.lines, remarks), routing=measured
        )
    if asked.sensitivity:
        from priorlang.cli.sensitivity import sensitivity

        table, moves = sensitivity(prior)
        checked = checked._replace(tables=(table,), moves=(moves,))
    return checked


def _summed_up(file: str, prior: Prior) -> str:
    spec = prior.spec
    layers = len(spec.model.routed)
    return (
        f"{file}: {counted(len(spec.rules), 'rule')}, {counted(layers * spec.class_count, 'cell')} "
        f"({counted(layers, 'layer')} × {counted(spec.class_count, 'token class', 'es')}), "
        f"{counted(prior.distinct_priors, 'distinct prior')}"
    )


def _check_training(file: str, asked: _Asked) -> _Checked:
    from priorlang.training.load import read_plan

    loaded = read_plan(file, asked.settings)
    checked = _check_stages(file, loaded, asked)
    return checked._replace(findings=[*_sampling(loaded), *checked.findings])


def _sampling(loaded: LoadedPlan) -> Iterator[Finding]:
    """Samplers that leave populations of a stage's prior empty."""
    from priorlang.phases import Prior
    from priorlang.syntax.source import read_source
    from priorlang.training.checks import check_sampling

    def asks(stage: StagePlan) -> bool:
        return stage.prior is not None and bool(Prior(read_source(str(stage.prior))).spec.attributes)

    try:
        yield from dict.fromkeys(check_sampling(loaded.plan, loaded.tree, loaded.stage_path, asks))
    except PriorError:
        return  # what is wrong with the prior is said elsewhere


def _check_stages(file: str, loaded: LoadedPlan, asked: _Asked) -> _Checked:
    """Every prior of a training file, for the model as the stages that use it have it."""
    from priorlang.cli.counting import counted_stages

    stages = loaded.plan.stages
    line = f"{file}: a training file with {counted(len(stages), 'stage')}"
    if all(stage.prior is None for stage in stages):
        return _Checked([], lines=(f"{line}, without a prior",))
    asked = asked._replace(settings=())
    parts = []
    if asked.evidence.shares is not None or not any(stage.shape for stage in stages):
        for prior, model in _priors(loaded):
            parts.append(_check(str(prior), asked._replace(model=model)))
    else:
        for stage in counted_stages(loaded, asked.evidence, quiet=asked.quiet):
            checked = _check(str(stage.prior), asked._replace(model=stage.model, evidence=stage.evidence))
            parts.append(checked._replace(lines=(stage.remark, *checked.lines)))
    return _joined(line, parts)


def _priors(loaded: LoadedPlan) -> Iterator[tuple[Path, GivenModel | None]]:
    """Each prior with the model of the first stage that routes by it; None where none does."""
    from priorlang.training.model import model_of

    routing = dict.fromkeys(stage.prior for stage in loaded.plan.stages if stage.prior is not None)
    for prior in routing:
        using = ((i, s) for i, s in enumerate(loaded.plan.stages) if s.prior == prior and s.moe)
        index, stage = next(using, (0, None))
        yield prior, None if stage is None else model_of(loaded.plan, stage, partial(loaded.span, index))


def _joined(line: str, parts: list[_Checked]) -> _Checked:
    """What several stages came to; what is the same in two of them is said once.

    An `allow` that is of use in one of them is not idle.
    """
    findings: dict[tuple[str, Span, str], Finding] = {}
    times: Counter[tuple[str, Span, str]] = Counter()
    for part in parts:
        said = {(found.name, found.span, found.message): found for found in part.findings}
        findings.update(said)
        times.update(said)
    return _Checked(
        [found for key, found in findings.items() if times[key] == len(parts) or not _is_idle(found)],
        {name: text for part in parts for name, text in part.sources.items()},
        (line, *(remark for part in parts for remark in part.lines)),
        tuple(document for part in parts for document in part.routing),
        tuple(table for part in parts for table in part.tables),
        tuple(document for part in parts for document in part.moves),
    )


def _is_idle(found: Finding) -> bool:
    from priorlang.semantics.allow import IDLE

    return found.message.startswith(IDLE)


def _evidence(shares: str | None, batch_tokens: float | None) -> Given:
    from priorlang.phases import Given

    if shares is None and batch_tokens is None:
        return Given()
    from priorlang.cli.evidence import given_evidence

    return given_evidence(shares, batch_tokens)


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
