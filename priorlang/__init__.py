"""priorlang: say how a mixture-of-experts model should route, as a program.

    spec = priorlang.load("vlm.prior", set={"boost": 1.0})
    findings = priorlang.check(spec)
    table = priorlang.compile(spec)

Packages, in the order in which data flows through them: `syntax` (text → tree), `semantics`
(tree → Spec), `checks` (Spec → findings), `table` (Spec → PriorTable), `compare` (two priors → what
differs). `diagnostics` renders findings; `training` reads training files; `cli` is the command line.
"""

from __future__ import annotations

from os import PathLike
from typing import TYPE_CHECKING

from priorlang.diagnostics.finding import Finding, PriorError

if TYPE_CHECKING:
    from collections.abc import Mapping

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


def check(spec: Spec) -> list[Finding]:
    """Everything there is to say about a resolved prior that is not an error of its text."""
    from priorlang.checks import check_cells
    from priorlang.semantics.allow import allowed
    from priorlang.table.cells import cells_of

    return allowed(spec, check_cells(cells_of(spec)))


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
