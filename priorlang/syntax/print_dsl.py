"""Tree → the DSL, in its one canonical layout."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from priorlang.diagnostics.span import Span
from priorlang.syntax import tree as t
from priorlang.syntax.canonical import canonical
from priorlang.syntax.comment_map import CommentMap, map_comments
from priorlang.syntax.phrases import name_text, number_text, operand_text, selector_text, set_text, value_text

WIDTH = 100
_INDENT = "  "


def print_dsl(document: t.Document) -> str:
    """The canonical text of a document, comments kept with the parts they belong to.

    Statements are grouped by kind, a blank line between kinds. A statement stands on one line where it
    fits; a rule that does not has a line for each clause. Names of alike neighbours are aligned.
    """
    comments = map_comments(document)
    ordered = canonical(document)
    blocks = [_header(ordered, comments)]
    for group in _by_kind(ordered.statements):
        blocks.extend(_group_blocks(group, comments))
    if comments.end:
        blocks.append(list(comments.end))
    return "\n\n".join("\n".join(block) for block in blocks if block) + "\n"


def _header(document: t.Document, comments: CommentMap) -> list[str]:
    version = document.version
    if version is None:
        return []
    return _with_comments([f"priorlang {version.text}"], version.span, comments)


def _by_kind(statements: Sequence[t.Statement]) -> Iterator[list[t.Statement]]:
    group: list[t.Statement] = []
    for statement in statements:
        if group and _kind(statement) != _kind(group[-1]):
            yield group
            group = []
        group.append(statement)
    if group:
        yield group


def _kind(statement: t.Statement) -> object:
    return (type(statement), getattr(statement, "kind", None))


def _group_blocks(group: list[t.Statement], comments: CommentMap) -> Iterator[list[str]]:
    """Statements of one kind: one-line ones together, each longer one, or one under a comment, apart."""
    width = _name_width(group, comments)
    block: list[str] = []
    for statement in group:
        lines = _statement(statement, comments, width)
        whole = _with_comments(lines, statement.span, comments)
        if not isinstance(statement, t.Attribute | t.Model | t.Schedule):
            whole += [_INDENT + comment for comment in comments.tail.get(statement.span, [])]
        apart = len(whole) > 1
        if block and apart:
            yield block
            block = []
        block.extend(whole)
        if apart and len(lines) > 1:
            yield block
            block = []
    if block:
        yield block


def _statement(statement: t.Statement, comments: CommentMap, width: int) -> list[str]:
    if isinstance(statement, t.Rule):
        return _rule(statement, comments, width)
    if isinstance(statement, t.Attribute):
        return _braced(_attribute_head(statement), statement.span, statement.members, _member, ",", comments)
    if isinstance(statement, t.Model):
        return _braced("model", statement.span, statement.settings, _setting, "", comments)
    if isinstance(statement, t.Schedule):
        return _braced("schedule", statement.span, statement.points, _point, ",", comments)
    if isinstance(statement, t.Default):
        return _default(statement, comments)
    return [_simple(statement, width)]


def _simple(statement: t.Statement, width: int) -> str:
    if isinstance(statement, t.Import):
        return f'import "{statement.path.text}"'
    if isinstance(statement, t.Group):
        return f"{statement.kind} {name_text(statement.name):<{width}} = {set_text(statement.value)}"
    if isinstance(statement, t.Parameter):
        return f"param {statement.name.text:<{width}} = {value_text(statement.value)}"
    if isinstance(statement, t.Expect):
        return f"expect {expectation_text(statement)}"
    assert isinstance(statement, t.Allow)
    rules = f" in {', '.join(map(name_text, statement.rules))}" if statement.rules else ""
    return f'allow {name_text(statement.finding)}{rules} because "{statement.because.text}"'


def _rule(rule: t.Rule, comments: CommentMap, width: int) -> list[str]:
    head = rule_head(rule)
    pieces = _rule_pieces(rule)
    one_line = f"{head + ':':<{width + 1}} {' '.join(text for text, _ in pieces)}"
    if rule_fits(rule, comments):
        return [one_line]
    lines = [f"{head}:"]
    if rule.overrides is not None:
        lines = _with_comments(lines, rule.overrides.span, comments)
    for text, span in pieces:
        lines.extend(_INDENT + line for line in _with_comments([text], span, comments))
    return lines


def rule_fits(rule: t.Rule, comments: CommentMap) -> bool:
    """Whether a rule is printed on one line."""
    text = f"{rule_head(rule)}: {' '.join(text for text, _ in _rule_pieces(rule))}"
    return len(text) <= WIDTH and not comments.within(rule)


def rule_head(rule: t.Rule) -> str:
    """`rule ocr overrides vision`."""
    head = f"rule {name_text(rule.name)}"
    if rule.overrides is None:
        return head
    silenced = "all" if rule.overrides.everything else ", ".join(map(name_text, rule.overrides.rules))
    return f"{head} overrides {silenced}"


def _rule_pieces(rule: t.Rule) -> list[tuple[str, Span]]:
    pieces = [(effect_text(effect), effect.span) for effect in rule.effects]
    if rule.selector is not None:
        pieces.insert(0, (selector_text(rule.selector), rule.selector.span))
    return pieces


def _default(default: t.Default, comments: CommentMap) -> list[str]:
    texts = [effect_text(effect) for effect in default.effects]
    one_line = f"default {' '.join(texts)}"
    if len(one_line) <= WIDTH and not comments.within(default):
        return [one_line]
    lines = ["default"]
    for text, effect in zip(texts, default.effects, strict=True):
        lines.extend(_INDENT + line for line in _with_comments([text], effect.span, comments))
    return lines


def effect_text(effect: t.Effect) -> str:
    """One clause of a rule."""
    if isinstance(effect, t.Base):
        shares = (f" share {number_text(s.amount)} to {set_text(s.experts)}" for s in effect.shares)
        return f"base {value_text(effect.value)}{''.join(shares)}"
    if isinstance(effect, t.Push):
        return f"{effect.verb} {set_text(effect.experts)} by {value_text(effect.by)}"
    if isinstance(effect, t.Weight):
        return f"weight {value_text(effect.value)}"
    if isinstance(effect, t.Split):
        return f"split by {', '.join(map(name_text, effect.attributes))}"
    return "unshaped"


def expectation_text(expect: t.Expect) -> str:
    """What `expect` claims, and where."""
    claim = expect.claim
    if isinstance(claim, t.Unshaped):
        words = "unshaped"
    else:
        words = f"{operand_text(claim.left)} {claim.sign} {operand_text(claim.right)}"
    return words if expect.selector is None else f"{words} {selector_text(expect.selector)}"


Piece = t.Member | t.Setting | t.Point


def _braced(
    head: str, whole: Span, pieces: Sequence[Piece], text_of: object, comma: str, comments: CommentMap
) -> list[str]:
    assert callable(text_of)
    texts = [str(text_of(piece)) for piece in pieces]
    joint = f"{comma} " if comma else "  "
    one_line = f"{head} {{ {joint.join(texts)} }}" if texts else f"{head} {{ }}"
    tail = comments.tail.get(whole, [])
    commented = any(piece.span in comments.before or piece.span in comments.after for piece in pieces)
    if len(one_line) <= WIDTH and not (commented or tail):
        return [one_line]
    lines = [f"{head} {{"]
    for text, piece in zip(texts, pieces, strict=True):
        lines.extend(_INDENT + line for line in _with_comments([text + comma], piece.span, comments))
    return [*lines, *(_INDENT + comment for comment in tail), "}"]


def _attribute_head(attribute: t.Attribute) -> str:
    return f"attribute {name_text(attribute.name)}{' adds' if attribute.adds else ''}"


def _member(member: t.Member) -> str:
    name = name_text(member.name)
    return f"{name} {{ {', '.join(map(_member, member.children))} }}" if member.children else name


def _setting(setting: t.Setting) -> str:
    return f"{setting.key.text} = {set_text(setting.value)}"


def _point(point: t.Point) -> str:
    return f"{number_text(point.place)}{'%' if point.percent else ''}: {number_text(point.factor)}"


def _name_width(group: Iterable[t.Statement], comments: CommentMap) -> int:
    """The width to which the names of neighbours are aligned."""
    widths = [0]
    for statement in group:
        if isinstance(statement, t.Group):
            widths.append(len(name_text(statement.name)))
        elif isinstance(statement, t.Parameter):
            widths.append(len(statement.name.text))
        elif isinstance(statement, t.Rule) and rule_fits(statement, comments):
            widths.append(len(rule_head(statement)))
    width = max(widths)
    return width if width <= 40 else 0


def _with_comments(lines: list[str], span: Span, comments: CommentMap) -> list[str]:
    """Lines with the comments of their part: those before above, the one after at the end."""
    after = "".join(f"  {comment}" for comment in comments.after.get(span, []))
    return [*comments.before.get(span, []), *lines[:-1], lines[-1] + after]
