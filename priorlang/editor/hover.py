"""What a name or a word under the cursor means, in Markdown."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from priorlang.diagnostics.registry import REGISTRY
from priorlang.diagnostics.span import Position, Span
from priorlang.editor.glossary import KEYWORD_MEANINGS, MEASURE_MEANINGS, SETTING_MEANINGS
from priorlang.editor.names import declarations, name_at
from priorlang.editor.occurrences import Occurrence, Symbol
from priorlang.editor.places import Lines
from priorlang.editor.words import words_of
from priorlang.editor.workspace import Workspace
from priorlang.semantics.describe import describe_rule, describe_value, index_set
from priorlang.semantics.exact import decimal_text, rounded
from priorlang.semantics.spec import RuleSpec, Spec
from priorlang.syntax import parse
from priorlang.syntax import tree as t
from priorlang.syntax.keywords import KEYWORDS
from priorlang.syntax.source import SourceFile
from priorlang.table.cells import CellPrior, Cells
from priorlang.table.dirichlet import mean, top_k_probability

_WORD = re.compile(r"[A-Za-z_][\w-]*")
SHOWN_EXPERTS = 16


@dataclass(frozen=True, slots=True)
class Hover:
    """Markdown about a stretch of a file."""

    text: str
    span: Span


def hover(workspace: Workspace, path: str, place: Position) -> Hover | None:
    """What stands under a cursor, None where there is nothing to say."""
    found = name_at(workspace, path, place)
    if found is None:
        return _of_keyword(workspace.source(path), place)
    text = _of_name(workspace, path, found)
    return Hover(text, found.span) if text else None


# --- names ---------------------------------------------------------------------------------------


def _of_name(workspace: Workspace, path: str, found: Occurrence) -> str:
    symbol = found.symbol
    if symbol.kind == "setting":
        return SETTING_MEANINGS.get(symbol.name, "")
    if symbol.kind == "measure":
        return MEASURE_MEANINGS.get(symbol.name, "")
    if symbol.kind == "finding":
        entry = REGISTRY.get(symbol.name)
        return f"{entry.code} `{entry.name}`: {entry.meaning}\n\n{entry.advice}" if entry else ""
    if symbol.kind == "file":
        return ""
    cells = workspace.prior(path).cells
    text = _of_symbol(cells, symbol) if cells is not None else ""
    declared = declarations(workspace.names(path), symbol)
    if not declared:
        return ""
    head = f"**{_title(symbol)}**"
    places = ", ".join(_short(span, path) for span in declared)
    return "\n\n".join(part for part in (head, text, f"Declared in {places}.") if part)


def _of_symbol(cells: Cells, symbol: Symbol) -> str:
    spec = cells.spec
    match symbol.kind:
        case "rule":
            rule = spec.rule(symbol.name)
            return _of_rule(cells, rule) if rule is not None else ""
        case "parameter":
            value = spec.parameters.get(symbol.name)
            return f"`{describe_value(value)}`" if value is not None else ""
        case "experts" | "layers":
            indices = spec.groups.get((symbol.kind, symbol.name))
            return f"`{index_set(indices)}` ({len(indices)} {symbol.kind})" if indices is not None else ""
        case "attribute":
            attribute = next((item for item in spec.attributes if item.name == symbol.name), None)
            return f"Members: {_listed(attribute.leaves)}" if attribute else ""
    owner = next((item for item in spec.attributes if item.name == symbol.owner), None)
    codes = owner.codes.get(symbol.name, ()) if owner else ()
    if owner is None or not codes:
        return ""
    if symbol.name in owner.parents:
        return f"Stands for {_listed(owner.leaves[code] for code in codes)}"
    parents = [name for name, below in owner.parents.items() if codes[0] in below]
    return f"Under {_listed(parents)}" if parents else ""


def _of_rule(cells: Cells, rule: RuleSpec) -> str:
    """The rule in resolved words, and a cell in which it acts."""
    spec = cells.spec
    words = f"```prior\n{describe_rule(spec, rule)}\n```"
    position = spec.rules.index(rule)
    active = [signature for signature, rules in enumerate(cells.active) if position in rules]
    where = np.argwhere(np.isin(cells.signature, active))
    if not len(where):
        return f"{words}\n\nIt acts in no cell."
    layer_position, token_class = (int(index) for index in where[0])
    cell = _cell_words(spec, layer_position, token_class)
    prior = cells.prior(layer_position, token_class)
    if prior is None:
        return f"{words}\n\nAt {cell} the tokens are left alone."
    acting = cells.active[int(cells.signature[layer_position, token_class])]
    others = [spec.rules[other].name for other in acting if other != position]
    company = f" (with {', '.join(others)})" if others else ""
    return f"{words}\n\nAt {cell}{company}, λ = {decimal_text(prior.weight)}:\n\n{_table(spec, prior)}"


def _cell_words(spec: Spec, layer_position: int, token_class: int) -> str:
    words = []
    for attribute in reversed(spec.attributes):
        token_class, code = divmod(token_class, len(attribute.leaves))
        words.append(f"{attribute.name} {attribute.leaves[code]}")
    return ", ".join([f"layer {spec.model.routed[layer_position]}", *reversed(words)])


def _table(spec: Spec, prior: CellPrior) -> str:
    """Experts with the same α share a row."""
    alpha = np.array([rounded(value) for value in prior.alpha])
    if not (np.isfinite(alpha).all() and (alpha > 0).all()):
        return f"α = {', '.join(decimal_text(value) for value in prior.alpha)}, which is no Dirichlet."
    means, enters = mean(alpha), top_k_probability(alpha, spec.model.top_k)
    rows = [f"| expert | α | mean | P(in top {spec.model.top_k}) |", "|---|--:|--:|--:|"]
    distinct = dict.fromkeys(prior.alpha)
    for value in list(distinct)[:SHOWN_EXPERTS]:
        experts = [expert for expert, own in enumerate(prior.alpha) if own == value]
        first = experts[0]
        alone = f"{decimal_text(value)} | {means[first]:.3f} | {enters[first]:.3f}"
        rows.append(f"| {index_set(experts).replace('|', ',')} | {alone} |")
    left = len(distinct) - SHOWN_EXPERTS
    return "\n".join(rows) + (f"\n\nand {left} more values of α" if left > 0 else "")


# --- words of the language -----------------------------------------------------------------------


def _of_keyword(source: SourceFile, place: Position) -> Hover | None:
    lines = Lines(source.text)
    offset = lines.offset(place)
    if source.is_yaml:
        found = _yaml_keyword(source, lines.line(place.line), place)
    else:
        found = next(
            (
                (word.start, word.end)
                for word in words_of(source.text)
                if word.start <= offset <= word.end and word.text in KEYWORDS and word.kind != "PARAM_NAME"
            ),
            None,
        )
    if found is None:
        return None
    word = source.text[found[0] : found[1]]
    return Hover(f"**{word}**: {KEYWORD_MEANINGS[word]}", lines.span(source.name, *found))


def _yaml_keyword(source: SourceFile, line: str, place: Position) -> tuple[int, int] | None:
    """A keyword at a cursor in YAML; comments and the reasons of `allow` are prose."""
    document, _ = parse(source)
    prose = [comment.span for comment in document.comments]
    prose += [item.because.span for item in document.statements if isinstance(item, t.Allow)]
    if any(span.start <= place <= span.end for span in prose):
        return None
    start = Lines(source.text).offset(Position(place.line, 1))
    for word in _WORD.finditer(line):
        if word.start() < place.column <= word.end() + 1 and word[0] in KEYWORDS:
            return start + word.start(), start + word.end()
    return None


def _title(symbol: Symbol) -> str:
    match symbol.kind:
        case "parameter":
            return f"parameter ${symbol.name}"
        case "experts" | "layers":
            return f"group of {symbol.kind} {symbol.name}"
        case "member":
            return f"member {symbol.name} of {symbol.owner}"
    return f"{symbol.kind} {symbol.name}"


def _listed(names: Iterable[str]) -> str:
    words = [f"`{name}`" for name in names]
    return ", ".join(words) if len(words) <= 20 else f"{', '.join(words[:20])} and {len(words) - 20} more"


def _short(span: Span, path: str) -> str:
    """`line 3`, or the file too where it is another."""
    line = f"line {span.start.line}"
    return line if span.file == path else f"`{os.path.basename(span.file)}`, {line}"
