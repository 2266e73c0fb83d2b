"""Any sentence of the grammar: read without a syntax error, judged, and printed as what it says."""

from __future__ import annotations

from fuzz.check import check
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.lark import from_lark
from prior_programs import HEAD, findings_of

from priorlang.syntax.build_tables import grammar_parser

NAMES = ("vision", "language", "modality", "task", "ocr", "reading", "unknown", "visual", "load", "routed")
OF_TERMINAL = {
    "NAME": NAMES,
    "PARAM_NAME": ("boost", "not"),
    "REFERENCE": ("$boost", "$x"),
    "STRING": ('"q r"', '"vision"', '"a#b"'),
    "NUMBER": ("0", "1", "3", "0.5", "1e-3"),
    "PERCENT": ("0%", "50%"),
    "COMPARE": ("<", ">="),
    "DOTS": ("..",),
}
LARK = grammar_parser()
WORDS = {
    terminal.name: st.sampled_from(OF_TERMINAL.get(terminal.name, (terminal.name.lower(),))).map("{} ".format)
    for terminal in LARK.terminals
    if terminal.name in OF_TERMINAL or terminal.name.lower() in str(terminal.pattern.value)
}
WORDS["COMMENT"] = st.just("# c\n")
SENTENCES = from_lark(
    LARK, start="fragment", explicit=WORDS, alphabet=st.characters(min_codepoint=32, max_codepoint=126)
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(SENTENCES, min_size=1, max_size=3))
def test_sentences_of_the_grammar_are_read(sentences: list[str]) -> None:
    body = "\n".join(sentence for sentence in sentences if not sentence.strip().startswith("priorlang"))
    text = f"{HEAD}param boost = 0.5\nexperts visual = 0..3\n{body}\n"
    syntax = [finding for finding in findings_of(text) if finding.name == "syntax-error"]
    assert not syntax, text
    check("main.prior", text)
