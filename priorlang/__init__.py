"""priorlang: say how a mixture-of-experts model should route, as a program.

    spec = priorlang.load("vlm.prior", set={"boost": 1.0})
    findings = priorlang.check(spec)
    table = priorlang.compile(spec)

Packages, in the order in which data flows through them: `syntax` (text → tree), `semantics` (tree → Spec),
`table` (Spec → PriorTable), `checks` (Spec, PriorTable, shares and routing → findings), `compare` (two priors →
what differs), `preview` (PriorTable → pictures), `routing` (what a run's routers did) and `fit` (routing → a
prior). `diagnostics` renders findings, `pages` figures and web pages; `training` reads training files; `cli` is the
command line.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from priorlang.diagnostics.finding import Finding, PriorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from priorlang.checks.shares import GivenShares
    from priorlang.semantics.spec import Spec
    from priorlang.settings import Setting
    from priorlang.table.prior_table import PriorTable

__all__ = ["Finding", "PriorError", "PriorTable", "check", "compile", "load"]
__version__ = "0.1.0"


def load(path: str | PathLike[str], set: Mapping[str, Setting] | None = None) -> Spec:
    """Read and resolve a prior file, in either form.

    Args:
        path: a `.prior` or `.yaml` file.
        set: values of declared parameters, in place of what the file states.

    Raises:
        PriorError: anything is wrong with the file; `.findings` holds everything.
    """
    from priorlang.phases import Prior
    from priorlang.settings import settings_of

    return Prior.read(path, settings_of(set or {})).spec


def check(spec: Spec, shares: GivenShares | None = None, batch_tokens: float | None = None) -> list[Finding]:
    """Everything there is to say about a resolved prior that is not an error of its text.

    Args:
        spec: the prior.
        shares: how many tokens there are of each kind, `{"modality": {"vision": 0.85, "language": 0.15}}`; whole
            numbers are counts; counts of token classes are a list, `[{"modality": "vision", "count": 120}]`.
            Without them nothing is assumed, and what needs them is left out.
        batch_tokens: tokens in a global batch.

    Raises:
        PriorError: the shares do not fit the prior, or the prior is too large.
    """
    from priorlang.checks import check_spec
    from priorlang.checks.shares import evidence_of
    from priorlang.semantics.allow import allowed

    return allowed(spec, check_spec(spec, evidence_of(spec, shares, batch_tokens)).findings)


def compile(spec: Spec) -> PriorTable:
    """Compile a resolved prior into the table that the engine reads.

    Raises:
        PriorError: a cell has no prior that could be used.
    """
    from priorlang.table.compile import compile_spec

    return compile_spec(spec)


def __getattr__(name: str) -> object:
    if name == "PriorTable":
        from priorlang.table.prior_table import PriorTable

        return PriorTable
    raise AttributeError(f"module 'priorlang' has no attribute {name!r}")
