"""Programs of any length and any shape: an answer, never an end to the stack or to memory."""

from __future__ import annotations

import pytest
from prior_programs import HEAD, findings_of, said

from priorlang.semantics.bounds import (
    MAXIMUM_ATTRIBUTES,
    MAXIMUM_CLAUSES,
    MAXIMUM_MISTAKES,
    MAXIMUM_STATEMENTS,
    MAXIMUM_SWEEPING,
)

LENGTH = 3_000


def chain(pattern: str, last: str, *, turned: bool) -> str:
    """Declarations each of which stands on the next, and the last of them, in either order."""
    lines = [pattern.format(index, index + 1) for index in range(LENGTH)] + [last.format(LENGTH)]
    return "\n".join(reversed(lines) if turned else lines) + "\n"


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize(
    ("pattern", "last", "use"),
    [
        ("param p{} = $p{}", "param p{} = 2", "base $p0"),
        ("experts e{} = e{}", "experts e{} = 0..3", "prefer e0 by 1"),
        ("param p{0} = ramp 0 to 1 over layers l{0} layers l{0} = ..3 | $p{1}", "param p{} = 2", "base 1"),
    ],
)
def test_a_chain_may_be_as_long_as_a_file(pattern: str, last: str, use: str, turned: bool) -> None:
    text = HEAD + chain(pattern, last, turned=turned) + f"rule r: {use}\n"
    names = {name for name, _ in said(text)}
    assert names <= {"invalid-value"}, "a ramp is no layer, and that is all that may be wrong"


def test_a_long_chain_reaches_the_model() -> None:
    text = chain("param p{} = $p{}", "param p{} = 2", turned=False)
    head = HEAD.replace("top_k = 2", "top_k = $p0")
    assert not said(head + text)
    assert said(head.replace("$p0", "$p0 routed = $p7..24") + text) == [("out-of-range", 2)]


@pytest.mark.parametrize(
    ("pattern", "name"),
    [("param p{} = $p{}", "parameter-cycle"), ("experts e{} = e{}", "group-cycle")],
)
def test_a_circle_may_be_as_long_as_a_file(pattern: str, name: str) -> None:
    lines = [pattern.format(index, (index + 1) % LENGTH) for index in range(LENGTH)]
    found = findings_of(HEAD + "\n".join(lines))
    assert {finding.name for finding in found if finding.severity == "error"} == {name}
    assert "…" in next(finding.message for finding in found if finding.name == name)


def test_so_many_mistakes_are_told() -> None:
    text = HEAD + "".join(f"rule r{index}: prefer nobody by 1\n" for index in range(3 * MAXIMUM_MISTAKES))
    found = findings_of(text)
    assert len(found) == MAXIMUM_MISTAKES + 1
    assert "what follows was not looked at" in found[-1].message


@pytest.mark.parametrize(
    "body",
    [
        "expect weight > 0\n" * (MAXIMUM_STATEMENTS + 1),
        "rule a: " + "prefer 0 by 1 " * (MAXIMUM_CLAUSES + 1),
        "".join(f"rule r{i} overrides all: unshaped\n" for i in range(MAXIMUM_SWEEPING + 1)),
        "".join(f"attribute a{i} {{ x }}\n" for i in range(MAXIMUM_ATTRIBUTES + 1)),
        "".join(f"attribute a{i} {{ x, y, z }}\n" for i in range(MAXIMUM_ATTRIBUTES - 2)),
        "experts a = " + "0 | " * 100_001 + "0",
    ],
)
def test_what_is_too_large_is_refused(body: str) -> None:
    assert [name for name, _ in said(HEAD + body)] == ["too-large"]


def test_comments_do_not_count() -> None:
    assert not said(HEAD + "# one word and another\n" * 40_000)
