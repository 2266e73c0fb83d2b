"""Comments belong to statements, and stay with them: in both forms, wherever they stand, however often laid out."""

from __future__ import annotations

import re
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from random_programs import Program, programs, text_of

from priorlang.syntax import SourceFile, parse
from priorlang.syntax import tree as t
from priorlang.syntax.canonical import canonical
from priorlang.syntax.comment_map import map_comments, pieces_of
from priorlang.syntax.lexer import tokens_of
from priorlang.syntax.print_dsl import print_dsl
from priorlang.syntax.reformat import formatted, rewritten
from priorlang.syntax.source import LineTable

COMMENT = re.compile(r'("[^"\n]*")|#[^\n]*')

OTHERS = """
import "other.prior"
experts visual-0 = 0 | 1
experts "an odd # name" = not visual-0
layers early-0 = ..1
schedule { 0%: 0, 50%: 1, 100%: 0.5 }
rule several overrides all: in layers 0 prefer 0 by 1 prefer 0 by 2 prefer 1 by 1 avoid 0 by 0.1
allow weak-preference in several because "a # b"
allow load-imbalance because "c"
expect share(0) > 0.1 in layers 0
expect weight = 1
"""


def said_by(statement: t.Statement) -> str:
    """A statement in its canonical words; `model` is one, however many there are."""
    if isinstance(statement, t.Model):
        return "model"
    alone = t.Document(None, (statement,), statement.span, (), ())
    return print_dsl(canonical(alone)).strip()


def owners(source: SourceFile) -> dict[str, str]:
    """Each comment and the statement that it belongs to, as the printers see it."""
    document, findings = parse(source)
    assert not findings
    mapped = map_comments(document)
    found = dict.fromkeys(mapped.end, "the end")
    for statement in document.statements:
        for span in (statement.span, *pieces_of(statement)):
            for comments in (mapped.before, mapped.after, mapped.tail):
                found.update(dict.fromkeys(comments.get(span, []), said_by(statement)))
    if document.version is not None:
        beside = mapped.before.get(document.version.span, []) + mapped.after.get(document.version.span, [])
        found.update(dict.fromkeys(beside, "the header"))
    assert sorted(found) == sorted(comment.text for comment in document.comments), "none lost, none twice"
    return found


def commented(text: str, random: Random) -> tuple[str, dict[str, str]]:
    """The text with comments between any of its words, and the statement that each must stay with."""
    document, _ = parse(SourceFile("a.prior", text))
    lines = LineTable(text)
    statements = sorted(document.statements, key=lambda statement: statement.span)
    words = [(token.offset, token.offset + len(token.text)) for token in tokens_of(text)]
    pieces: list[str] = []
    meant: dict[str, str] = {}
    done = 0
    for number, (begin, end) in enumerate(words):
        pieces.append(text[done:end])
        done = end
        if random.random() > 0.12:
            continue
        comment = f"# {number}"
        place, after = lines.at(begin), lines.at(words[number + 1][0]) if number + 1 < len(words) else None
        own = [s for s in statements if s.span.start <= place < s.span.end]
        inside = bool(own) and after is not None and after < own[0].span.end
        alone = random.random() < 0.5
        indent = " " * random.randrange(4)
        pieces.append(f"\n{indent}{comment}\n" if alone else f"  {comment}\n")
        following = [s for s in statements if s.span.start > place]
        if inside or (own and (not alone or indent)):
            meant[comment] = said_by(own[0])
        elif not own:
            meant[comment] = said_by(following[0]) if alone and number else "the header"
        else:
            meant[comment] = said_by(following[0]) if following else "the end"
    return "".join([*pieces, text[done:]]), meant


@settings(max_examples=40, deadline=None)
@given(program=programs(), seed=st.integers(0, 2**32))
def test_every_comment_stays_with_its_statement(program: Program, seed: int) -> None:
    plain = formatted(SourceFile("a.prior", COMMENT.sub(r"\1", text_of(program, Random(seed))) + OTHERS))
    text, meant = commented(plain, Random(seed))
    source = SourceFile("a.prior", text)
    assert owners(source) == meant, text
    for form, other in (("a.prior", "b.yaml"), ("a.yaml", "b.prior")):
        printed = SourceFile(form, rewritten(source, form))
        assert owners(printed) == meant, printed.text
        assert formatted(printed) == printed.text
        assert owners(SourceFile(other, rewritten(printed, other))) == meant


def commented_yaml(text: str, random: Random) -> str:
    """A YAML file with comments at the ends of lines, on lines of their own, and between items in brackets."""
    pieces = []
    for number, line in enumerate(text.splitlines()):
        depth = len(line) - len(line.lstrip())
        if random.random() < 0.15:
            pieces.append(f"{' ' * (depth + random.choice((-2, 0, 2)))}# above {number}")
        if random.random() < 0.2 and '"' not in line and ", " in line:
            head, tail = line.split(", ", 1)
            pieces.append(f"{head},  # inside {number}\n{' ' * (depth + 6)}{tail}")
        else:
            pieces.append(f"{line}  # after {number}" if line and random.random() < 0.2 else line)
    return "\n".join([*pieces, "  # last"])


@settings(max_examples=40, deadline=None)
@given(program=programs(), seed=st.integers(0, 2**32))
def test_comments_of_yaml_stay_with_their_statements(program: Program, seed: int) -> None:
    plain = rewritten(
        SourceFile("a.prior", COMMENT.sub(r"\1", text_of(program, Random(seed))) + OTHERS), "a.yaml"
    )
    source = SourceFile("a.yaml", commented_yaml(plain, Random(seed)))
    meant = owners(source)
    document, _ = parse(source)
    for comment in document.comments:
        for statement in document.statements:
            if statement.span.start < comment.span.start < statement.span.end:
                assert meant[comment.text] == said_by(statement)
    for form, other in (("a.prior", "b.yaml"), ("a.yaml", "b.prior")):
        printed = SourceFile(form, rewritten(source, form))
        assert owners(printed) == meant, printed.text
        assert formatted(printed) == printed.text
        assert owners(SourceFile(other, rewritten(printed, other))) == meant


def test_comments_in_odd_places() -> None:
    source = SourceFile(
        "a.prior",
        "priorlang 1\n"
        "attribute modality {\n  vision, # eyes\n  # sound,\n  language\n  # touch\n}\n"
        "experts visual = 0 | # first\n  1\n  # experts old = 2\n"
        "rule a: for modality # which\n  vision\n  prefer visual by 0.5\n  # weight 0.02\n"
        "# about b\nrule b: weight 0.02\n",
    )
    assert formatted(source) == (
        "priorlang 1\n\n"
        "attribute modality {\n  vision,  # eyes\n  # sound,\n  language,\n  # touch\n}\n\n"
        "experts visual = 0 | 1  # first\n  # experts old = 2\n\n"
        "rule a:\n  for modality vision  # which\n  prefer visual by 0.5\n  # weight 0.02\n\n"
        "# about b\nrule b: weight 0.02\n"
    )
    assert rewritten(SourceFile("b.yaml", rewritten(source, "b.yaml")), "a.prior") == formatted(source)


def test_a_comment_below_empty_braces_stands_beside_them() -> None:
    laid_out = formatted(SourceFile("a.prior", "priorlang 1\nmodel { }\n # c\n"))
    assert laid_out == "priorlang 1\n\nmodel { }  # c\n"
    assert formatted(SourceFile("a.prior", laid_out)) == laid_out
