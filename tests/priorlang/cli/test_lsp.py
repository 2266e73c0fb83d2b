"""The server that editors start, driven by a client over standard streams."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException

from tests.priorlang.cli.lsp_session import Session, place_of, written

BASE = """priorlang 1
model { layers = 24  experts = 8  top_k = 2 }
attribute modality { vision, language }
experts visual = 0..3
param boost = 0.5
default base 0.75 weight 0.01
rule vision: for modality vision prefer visual by $boost
"""
MAIN = """priorlang 1
import "base.prior"
rule ocr overrides vision: for modality vision in layers 3 prefer visual by $boost weight 0.02
"""
WRONG = BASE + "rule art: for modality vison prefer visual by 1  # é𝛼\nrule b: prefer visual 1\n"


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    folder = tmp_path_factory.mktemp("workspace").resolve()
    (folder / "base.prior").write_text(BASE, encoding="utf-8")
    started = Session(folder)
    yield started
    assert started.end() == 0


def test_it_says_what_it_can(session: Session) -> None:
    offered = session.result.capabilities
    assert session.result.server_info.name == "priorlang"
    assert offered.text_document_sync.change is lsp.TextDocumentSyncKind.Full
    assert offered.hover_provider
    assert offered.rename_provider.prepare_provider


def test_diagnostics_come_as_you_type_and_go(session: Session) -> None:
    found = session.open("wrong.prior", WRONG)
    assert [(item.code, written(WRONG, item.range)) for item in found] == [
        ("unknown-member", "vison"),
        ("syntax-error", "1"),
    ]
    assert found[0].severity is lsp.DiagnosticSeverity.Error
    assert "did you mean `vision`?" in found[0].message
    mended = WRONG.replace("vison", "vision").replace("visual 1", "visual by 1")
    assert session.change("wrong.prior", mended) == []


def test_diagnostics_name_related_places(session: Session) -> None:
    text = BASE + "param boost = 1\n"
    (found,) = session.open("twice.prior", text)
    (related,) = found.related_information
    assert related.location.uri == session.uri("twice.prior")
    assert "boost = 0.5" in written(text, related.location.range)


def test_columns_are_utf_16_in_a_file_with_crlf(session: Session) -> None:
    text = BASE.replace("language }", 'language, "é𝛼" }').replace("\n", "\r\n")
    text += 'rule a: for modality "é𝛼" | vison prefer 0 by 1\r\n'
    (found,) = session.open("wide.prior", text)
    assert written(text, found.range) == "vison"
    assert found.range.start == lsp.Position(7, 29)


def test_columns_in_the_unit_that_the_client_prefers(tmp_path: Path) -> None:
    session = Session(tmp_path, [lsp.PositionEncodingKind.Utf8])
    text = BASE.replace("language }", 'language, "é𝛼" }') + 'rule a: for modality "é𝛼" | vison prefer 0 by 1'
    (found,) = session.open("wide.prior", text)
    assert found.range.start == lsp.Position(7, 32)
    assert session.end() == 0


def test_importers_are_checked_when_what_they_import_changes(session: Session) -> None:
    session.open("base.prior", BASE)
    assert session.open("main.prior", MAIN) == []
    (found,) = session.change("base.prior", BASE.replace("visual", "seeing"), about="main.prior")
    assert found.code == "unknown-name"
    assert session.change("base.prior", BASE, about="main.prior") == []


def test_what_an_import_gets_wrong_is_told_of_the_imported_file(session: Session) -> None:
    (session.folder / "broken.prior").write_text(WRONG, encoding="utf-8")
    text = 'priorlang 1\nimport "broken.prior"\n'
    found = session.after("broken.prior", lambda: session.tell_open("stands-on-broken.prior", text))
    assert {item.code for item in found} == {"unknown-member", "syntax-error"}
    gone = session.after("broken.prior", lambda: session.close("stands-on-broken.prior"))
    assert gone == []


def test_hover_shows_what_a_rule_leads_to(session: Session) -> None:
    session.open("main.prior", MAIN)
    place = place_of(MAIN, "ocr")
    hover = session.ask(
        lambda client: client.text_document_hover_async(
            lsp.HoverParams(session.identifier("main.prior"), place)
        )
    )
    assert "for modality vision in layers 3 prefer 0..3 by 0.5 weight 0.02" in hover.contents.value
    assert "| 0..3 | 1.25 | 0.156 | 0.338 |" in hover.contents.value
    assert written(MAIN, hover.range) == "ocr"


def test_completion_in_a_text_that_does_not_parse(session: Session) -> None:
    text = BASE + "rule é: for modality "
    session.open("typing.prior", text)
    place = place_of(text, "for modality ", 1, within=13)
    found = session.ask(
        lambda client: client.text_document_completion_async(
            lsp.CompletionParams(session.identifier("typing.prior"), place)
        )
    )
    assert [item.label for item in found.items] == ["vision", "language", "all", "not"]
    assert found.items[0].text_edit.range == lsp.Range(place, place)


def test_definition_in_an_imported_file(session: Session) -> None:
    session.open("main.prior", MAIN)
    (found,) = session.ask(
        lambda client: client.text_document_definition_async(
            lsp.DefinitionParams(session.identifier("main.prior"), place_of(MAIN, "$boost"))
        )
    )
    assert found.uri == session.uri("base.prior")
    assert written(BASE, found.range) == "boost"


def test_rename_reaches_every_file(session: Session) -> None:
    session.open("main.prior", MAIN)
    edit = session.ask(
        lambda client: client.text_document_rename_async(
            lsp.RenameParams(
                session.identifier("main.prior"), place_of(MAIN, "overrides vision", within=12), "see"
            )
        )
    )
    changes = {
        Path(uri).name: [(written(text, item.range), item.new_text) for item in edit.changes[uri]]
        for uri, text in ((session.uri("base.prior"), BASE), (session.uri("main.prior"), MAIN))
    }
    assert changes == {"base.prior": [("vision", "see")], "main.prior": [("vision", "see")]}


def test_rename_says_why_not(session: Session) -> None:
    session.open("main.prior", MAIN)
    params = lsp.RenameParams(session.identifier("main.prior"), place_of(MAIN, "ocr"), "vision")
    with pytest.raises(JsonRpcException, match="there is a rule `vision` already"):
        session.ask(lambda client: client.text_document_rename_async(params))
    place = lsp.PrepareRenameParams(session.identifier("main.prior"), place_of(MAIN, "overrides"))
    with pytest.raises(JsonRpcException, match="can be renamed"):
        session.ask(lambda client: client.text_document_prepare_rename_async(place))


def test_references_and_highlights(session: Session) -> None:
    session.open("main.prior", MAIN)
    context = lsp.ReferenceContext(include_declaration=True)
    place = place_of(MAIN, "visual")
    found = session.ask(
        lambda client: client.text_document_references_async(
            lsp.ReferenceParams(context, session.identifier("main.prior"), place)
        )
    )
    assert sorted(Path(item.uri).name for item in found) == ["base.prior", "base.prior", "main.prior"]
    here = session.ask(
        lambda client: client.text_document_document_highlight_async(
            lsp.DocumentHighlightParams(session.identifier("main.prior"), place)
        )
    )
    assert [written(MAIN, item.range) for item in here] == ["visual"]


def test_formatting_keeps_the_ends_of_lines(session: Session) -> None:
    text = BASE.replace("experts visual = 0..3", "experts   visual=0..3").replace("\n", "\r\n")
    session.open("loose.prior", text)
    options = lsp.FormattingOptions(tab_size=2, insert_spaces=True)
    edits = session.ask(
        lambda client: client.text_document_formatting_async(
            lsp.DocumentFormattingParams(session.identifier("loose.prior"), options)
        )
    )
    assert edits
    assert all("\n" not in edit.new_text.replace("\r\n", "") for edit in edits)
    assert any("experts visual = 0..3" in edit.new_text for edit in edits)


def test_a_broken_text_is_not_formatted(session: Session) -> None:
    session.open("wrong.prior", WRONG)
    options = lsp.FormattingOptions(tab_size=2, insert_spaces=True)
    params = lsp.DocumentFormattingParams(session.identifier("wrong.prior"), options)
    assert session.ask(lambda client: client.text_document_formatting_async(params)) is None


def test_quick_fix(session: Session) -> None:
    found = session.open("wrong.prior", WRONG)
    params = lsp.CodeActionParams(
        session.identifier("wrong.prior"), found[0].range, lsp.CodeActionContext(diagnostics=[found[0]])
    )
    (action,) = session.ask(lambda client: client.text_document_code_action_async(params))
    assert action.title == "Write `vision`"
    assert action.kind == lsp.CodeActionKind.QuickFix
    (edit,) = action.edit.changes[session.uri("wrong.prior")]
    assert (written(WRONG, edit.range), edit.new_text) == ("vison", "vision")


def test_outline(session: Session) -> None:
    session.open("base.prior", BASE)
    found = session.ask(
        lambda client: client.text_document_document_symbol_async(
            lsp.DocumentSymbolParams(session.identifier("base.prior"))
        )
    )
    assert [item.name for item in found] == ["model", "modality", "visual", "$boost", "default", "vision"]
    assert [child.name for child in found[1].children] == ["vision", "language"]


def test_the_yaml_form(session: Session) -> None:
    text = "priorlang: 1\nmodel: {layers: 2, experts: 2, top_k: 1}\ndefault: {base: 1, wieght: 0.1}\n"
    found = session.open("form.yaml", text, "yaml")
    assert ("unknown-key", "wieght") in [(item.code, written(text, item.range)) for item in found]
    assert session.open("other.yaml", "services: {web: {image: x}}\n", "yaml") == []


def test_a_training_file_is_checked_as_it_was_saved(session: Session) -> None:
    text = "model_name_or_path: x\noutput_dir: y\nlearning_rat: 1\ndata: [{path: nowhere.json}]\n"
    (session.folder / "train.yaml").write_text(text, encoding="utf-8")
    found = session.open("train.yaml", text, "yaml")
    assert "learning_rat" in [written(text, item.range) for item in found]


def test_texts_that_no_disk_knows(session: Session) -> None:
    session.client.text_document_did_open(
        lsp.DidOpenTextDocumentParams(
            lsp.TextDocumentItem("untitled:Untitled-1", "prior", 1, MAIN + BASE[12:])
        )
    )
    place = lsp.HoverParams(lsp.TextDocumentIdentifier("untitled:Untitled-1"), lsp.Position(0, 2))
    hover = session.ask(lambda client: client.text_document_hover_async(place))
    assert "begins every file" in hover.contents.value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\ufeff",
        "\0",
        '"',
        "rule " * 50,
        "{" * 3000,
        "\ud800",
        "@" * 5000,
        "\x85\u2028\x0b",
        "#" + "é" * 9999,
    ],
    ids=range(10),
)
def test_no_text_ends_it(session: Session, text: str) -> None:
    for name in ("any.prior", "any.yaml"):
        session.open(name, "priorlang: 1\n" + text if name.endswith("yaml") else text)
        for line in (0, 1, 7):
            position = lsp.Position(line, len(text))
            identifier = session.identifier(name)
            session.ask(
                lambda client, i=identifier, p=position: client.text_document_completion_async(
                    lsp.CompletionParams(i, p)
                )
            )
            session.ask(
                lambda client, i=identifier, p=position: client.text_document_hover_async(
                    lsp.HoverParams(i, p)
                )
            )


def test_messages_that_make_no_sense_do_not_end_it(session: Session) -> None:
    nonsense = (None, 3, [], {"textDocument": 3}, {"textDocument": {"uri": 7}, "position": "no"})
    for method in (lsp.TEXT_DOCUMENT_HOVER, lsp.TEXT_DOCUMENT_RENAME, lsp.TEXT_DOCUMENT_CODE_ACTION):
        for number, params in enumerate(nonsense):
            session.send({"id": f"{method} {number}", "method": method, "params": params})
    for method in (lsp.TEXT_DOCUMENT_DID_OPEN, lsp.TEXT_DOCUMENT_DID_CHANGE, lsp.TEXT_DOCUMENT_DID_CLOSE):
        for params in nonsense:
            session.send({"method": method, "params": params})
    session.send({"id": "unheard of", "method": "textDocument/unheardOf", "params": {}})
    session.send([1, 2])
    nowhere = lsp.HoverParams(lsp.TextDocumentIdentifier("file:///nowhere.prior"), lsp.Position(0, 0))
    assert session.ask(lambda client: client.text_document_hover_async(nowhere)) is None
    assert session.open("wrong.prior", WRONG)


def test_an_exit_without_shutdown_is_an_error() -> None:
    messages = [{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {"capabilities": {}}}]
    messages.append({"jsonrpc": "2.0", "method": "exit"})
    bodies = [json.dumps(message).encode() for message in messages]
    stream = b"".join(b"Content-Length: %d\r\n\r\n%s" % (len(body), body) for body in bodies)
    ended = subprocess.run(
        [sys.executable, "-m", "priorlang", "lsp"], input=stream, capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert b'"capabilities"' in ended.stdout


def test_without_pygls_it_says_what_to_install() -> None:
    script = "import sys; sys.modules['pygls'] = None; from priorlang.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", script, "lsp"], input=b"", capture_output=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    assert ended.stdout == b""
    assert ended.stderr.decode().splitlines() == [
        "error: the language server needs pygls; run `pip install 'priorlang[editor]'`"
    ]
