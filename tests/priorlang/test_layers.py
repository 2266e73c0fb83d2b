"""What the packages may import, and that the registry of findings is one."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from priorlang.diagnostics.finding import Severity
from priorlang.diagnostics.registry import REGISTRY, entry_of

PACKAGE = Path(__file__).parents[2] / "priorlang"
SOURCES = sorted(PACKAGE.rglob("*.py"))
ENGINE = {"torch", "transformers", "deepspeed", "accelerate", "triton"}
# Names of the contract that are reported by later parts of the compiler.
CONTRACT = [
    "syntax-error",
    "unknown-name",
    "unknown-member",
    "duplicate-name",
    "duplicate-key",
    "out-of-range",
    "missing-default",
    "conflict",
    "override-cycle",
    "override-no-overlap",
    "dead-rule",
    "shadowed-rule",
    "redundant-rule",
    "widened-not",
    "unknown-by-negation",
    "duplicate-clause",
    "invalid-alpha",
    "invalid-weight",
    "expert-count",
    "expectation-failed",
    "unused-name",
]


def imports_of(tree: ast.AST) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_language_stands_without_the_engine(path: Path) -> None:
    modules = {name.split(".")[0] for name in imports_of(ast.parse(path.read_text(encoding="utf-8")))}
    assert not modules & ENGINE
    if path.parent.name not in {"cli"}:
        assert "dpsl" not in modules


ORDER = ["diagnostics", "syntax", "semantics", "table", "checks", "phases", "compare", "cli"]
LOWER_MAY_NOT = {
    "diagnostics": {"syntax", "semantics", "table", "checks", "compare", "cli"},
    "syntax": {"semantics", "table", "checks", "compare", "cli"},
    "semantics": {"table", "checks", "compare", "cli"},
    "table": {"compare", "cli"},
    "routing": {"checks", "compare", "fit", "cli"},
    "fit": {"compare", "cli"},
    "checks": {"compare", "cli"},
    "compare": {"preview", "cli"},
    "pages": {"syntax", "semantics", "table", "checks", "routing", "compare", "fit", "preview", "cli"},
    "preview": {"compare", "fit", "cli"},
}


@pytest.mark.parametrize("package", LOWER_MAY_NOT)
def test_nothing_flows_backwards(package: str) -> None:
    for path in (PACKAGE / package).rglob("*.py"):
        used = imports_of(ast.parse(path.read_text(encoding="utf-8")))
        backwards = {name for name in used if name.split(".")[:1] == ["priorlang"]}
        assert not {name.split(".")[1] for name in backwards if "." in name} & LOWER_MAY_NOT[package], path


def test_codes_are_unique_and_look_like_codes() -> None:
    codes = [entry.code for entry in REGISTRY.values()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"PL[1-9][0-9]{2}", code) for code in codes)
    assert all(name == entry.name for name, entry in REGISTRY.items())


def test_the_names_of_the_contract_are_registered() -> None:
    assert not set(CONTRACT) - set(REGISTRY)
    for name in ("conflict", "syntax-error", "invalid-alpha", "expectation-failed"):
        entry = entry_of(name)
        assert entry is not None
        assert not entry.heuristic
        assert entry_of(entry.code.lower()) is entry


def test_every_finding_in_the_code_is_registered() -> None:
    unregistered = {
        f"{path.name}: {word}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        for word in _finding_names(node)
        if word not in REGISTRY
    }
    assert not unregistered


def _finding_names(call: ast.Call) -> list[str]:
    """The name that a call gives a finding, where it is written out."""
    function = call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")
    makers = {
        "Finding": 0,
        "error": 0,
        "_error": 0,
        "report": 0,
        "_warning": 0,
        "_refused": 0,
        "_unreadable": 1,
    }
    if function not in makers or len(call.args) <= makers[function]:
        return []
    words = [node.value for node in ast.walk(call.args[makers[function]]) if isinstance(node, ast.Constant)]
    return [
        word for word in words if isinstance(word, str) and re.fullmatch(r"[a-z]+(-[a-z]+)+|conflict", word)
    ]


def test_severities_are_three() -> None:
    assert [severity.value for severity in Severity] == ["error", "warning", "info"]
