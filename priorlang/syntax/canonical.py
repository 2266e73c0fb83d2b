"""The canonical order of a file: statements by kind, clauses of a rule by kind, one `model`, one `split`.

Order means nothing in the language, so this changes nothing but the reading. Both printers print a
canonical tree, and two files say the same in the same words where their canonical trees are equal.
"""

from __future__ import annotations

from priorlang.records import replace
from priorlang.syntax import tree as t

_KINDS: tuple[type, ...] = (
    t.Import,
    t.Model,
    t.Attribute,
    t.Group,
    t.Parameter,
    t.Default,
    t.Rule,
    t.Schedule,
    t.Allow,
    t.Expect,
)
_EFFECTS = {"Base": 0, "prefer": 1, "avoid": 2, "Weight": 3, "Split": 4, "Unshaped": 5}


def canonical(document: t.Document) -> t.Document:
    """The same program in canonical order; what is alike keeps the order it was written in."""
    statements = [_canonical_statement(statement) for statement in _one_model(document.statements)]
    ordered = sorted(statements, key=_statement_rank)
    return replace(document, statements=tuple(ordered))


def _one_model(statements: tuple[t.Statement, ...]) -> list[t.Statement]:
    models = [statement for statement in statements if isinstance(statement, t.Model)]
    if len(models) < 2:
        return list(statements)
    settings = tuple(setting for model in models for setting in model.settings)
    merged = replace(models[0], settings=settings)
    return [merged, *(statement for statement in statements if not isinstance(statement, t.Model))]


def _canonical_statement(statement: t.Statement) -> t.Statement:
    if isinstance(statement, t.Rule):
        selector = statement.selector
        if selector is not None and not selector.terms and selector.layers is None:
            selector = None
        return replace(statement, effects=_ordered(statement.effects), selector=selector)
    if isinstance(statement, t.Default):
        return replace(statement, effects=_ordered(statement.effects))
    return statement


def _ordered(effects: tuple[t.Effect, ...]) -> tuple[t.Effect, ...]:
    splits = splits_of(effects)
    if len(splits) > 1:
        named = dict.fromkeys(name for split in splits for name in split.attributes)
        one = replace(splits[0], attributes=tuple(named))
        effects = (*(effect for effect in effects if not isinstance(effect, t.Split)), one)
    return tuple(sorted(effects, key=effect_rank))


def splits_of(effects: tuple[t.Effect, ...]) -> list[t.Split]:
    """The `split` clauses among effects; a canonical rule has one, at the place of the first."""
    return [effect for effect in effects if isinstance(effect, t.Split)]


def effect_rank(effect: t.Effect) -> int:
    """Where an effect stands among the clauses of its rule."""
    return _EFFECTS[effect.verb if isinstance(effect, t.Push) else type(effect).__name__]


def _statement_rank(statement: t.Statement) -> tuple[int, int]:
    second = int(isinstance(statement, t.Group) and statement.kind == "layers")
    return _KINDS.index(type(statement)), second
