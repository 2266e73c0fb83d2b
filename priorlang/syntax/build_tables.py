"""`python -m priorlang.syntax.build_tables` prints grammar_tables.py: grammar.lark as LALR(1) tables.

Lark works the tables out, under `strict`: a conflict in the grammar is an error here. Reading a prior needs
the tables alone, so no program that reads one waits for Lark.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lark import Lark

START_SYMBOLS = ("start", "fragment", "set", "value", "number", "name", "place", "expectation")
_HEAD = '''"""The LALR(1) tables of grammar.lark. Generated: `make docs` writes this file."""

from __future__ import annotations

# fmt: off
'''


def grammar_text() -> str:
    """The text of the grammar."""
    return files("priorlang.syntax").joinpath("grammar.lark").read_text(encoding="utf-8")


def grammar_parser(lexer: str = "contextual") -> Lark:
    """Lark's own parser of the grammar, without conflicts."""
    from lark import Lark

    return Lark(
        grammar_text(),
        parser="lalr",
        lexer=lexer,
        start=list(START_SYMBOLS),
        strict=True,
        propagate_positions=True,
        maybe_placeholders=False,
    )


def tables_module() -> str:
    """The source of grammar_tables.py: the same text for the same grammar."""
    starts, states, rules = _numbered(_table(grammar_parser()))
    lines = [
        _HEAD,
        "STARTS: dict[str, int] = {",
        *(f"    {symbol!r}: {state}," for symbol, state in starts.items()),
        "}",
        "",
        "# Of each state: the state that follows a symbol; of a terminal before which a rule is complete, ~rule.",
        "# The state after $END, where a text has been read whole, has no row.",
        "STATES: tuple[dict[str, int], ...] = (",
        *(f"    {row!r}," for row in states),
        ")",
        "",
        "# Of each rule: its symbol, how many parts it has, the builder's method (none where its parts go to",
        "# the rule above), and the parts that count, by position, with the symbol of each.",
        "RULES: tuple[tuple[str, int, str, tuple[tuple[int, str], ...]], ...] = (",
        *(f"    {rule!r}," for rule in rules),
        ")",
    ]
    return "\n".join(lines).replace("'", '"') + "\n"


def _table(parser: Lark) -> Any:
    return parser.parser.parser._parse_table


def _numbered(
    table: Any,
) -> tuple[dict[str, int], list[dict[str, int]], list[tuple[str, int, str, tuple[tuple[int, str], ...]]]]:
    """States and rules numbered in the order in which a walk by the alphabet meets them.

    Lark's own numbers follow the order of sets, which differs from run to run.
    """
    from lark.parsers.lalr_analysis import Shift

    number = {table.start_states[symbol]: index for index, symbol in enumerate(START_SYMBOLS)}
    waiting = list(number)
    for state in waiting:
        for _, (action, argument) in sorted(table.states[state].items()):
            if action is Shift and argument not in number:
                number[argument] = len(number)
                waiting.append(argument)
    reductions = {
        argument for row in table.states.values() for action, argument in row.values() if action is not Shift
    }
    ordered = sorted(reductions, key=lambda rule: (rule.origin.name, [part.name for part in rule.expansion]))
    place = {rule: index for index, rule in enumerate(ordered)}
    states = [
        {
            symbol: number[argument] if action is Shift else ~place[argument]
            for symbol, (action, argument) in sorted(table.states[state].items())
        }
        for state in waiting
    ]
    for state in table.end_states.values():
        states[number[state]]["$END"] = len(states)
    starts = {symbol: number[table.start_states[symbol]] for symbol in START_SYMBOLS}
    return starts, states, [_rule(rule) for rule in ordered]


def _rule(rule: Any) -> tuple[str, int, str, tuple[tuple[int, str], ...]]:
    kept = tuple(
        (position, str(part.name))
        for position, part in enumerate(rule.expansion)
        if not (part.is_term and part.filter_out)
    )
    origin = str(rule.origin.name)
    method = "" if origin.startswith("_") else str(rule.alias or origin)
    return origin, len(rule.expansion), method, kept


if __name__ == "__main__":
    print(tables_module(), end="")  # noqa: T201
