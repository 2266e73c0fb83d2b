"""A RunRecord → one HTML page that needs nothing else: style and drawings are inside."""

from __future__ import annotations

from dpsl.report.accuracy import held_out_sets
from dpsl.report.parts.accuracy import accuracy_parts
from dpsl.report.parts.benchmarks import benchmarks_part
from dpsl.report.parts.given import audit_part, given_part
from dpsl.report.parts.routing import routing_part
from dpsl.report.parts.stages import stages_part
from dpsl.report.read import RunRecord
from dpsl.report.routing import measured_stages
from dpsl.report.words import findings, state_of
from priorlang.pages.html import bullets, document, element, page_title


def render_page(run: RunRecord) -> str:
    """The page of a run; the same for the same record.

    Raises:
        MissingMatplotlibError: matplotlib is not installed.
    """
    sets, measured = held_out_sets(run), measured_stages(run.stages)
    return document(
        f"{run.name} · priorlang report",
        element("h1", page_title("Run", run.name)),
        element("p", state_of(run), class_="faint"),
        *(element("p", remark, class_="remark") for remark in run.remarks),
        bullets(findings(run, sets, measured)),
        stages_part(run.stages),
        *accuracy_parts(sets),
        benchmarks_part(run.stages),
        routing_part(run.stages, measured),
        audit_part(run.audit),
        given_part(run),
    )
