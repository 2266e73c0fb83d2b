"""The language server: messages of the protocol to the functions of this package, and back."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import Any, TypeVar

from lsprotocol import types as lsp
from pygls.exceptions import JsonRpcException
from pygls.lsp.server import LanguageServer
from pygls.uris import from_fs_path, to_fs_path

import priorlang
from priorlang.diagnostics.finding import Finding, PriorError
from priorlang.editor.completion import complete
from priorlang.editor.diagnose import ByFile, findings_of, fixable, merged
from priorlang.editor.edits import replacement
from priorlang.editor.hover import hover
from priorlang.editor.names import definitions, name_at, references
from priorlang.editor.occurrences import occurrences
from priorlang.editor.outline import outline
from priorlang.editor.places import Encoding
from priorlang.editor.protocol import Translator
from priorlang.editor.rename import RefusedError, renamable, rename
from priorlang.editor.workspace import Workspace, is_prior
from priorlang.syntax.reformat import formatted

QUIET_SECONDS = 0.2
"""How long the typing must rest before a text is checked."""

T = TypeVar("T")


class PriorServer(LanguageServer):
    """A server with the texts it was told of, and what it last said about them."""

    def __init__(self) -> None:
        super().__init__(
            "priorlang", priorlang.__version__, text_document_sync_kind=lsp.TextDocumentSyncKind.Full
        )
        self.open = Workspace()
        self.paths: dict[str, str] = {}
        self.uris: dict[str, str] = {}
        self.line_ends: dict[str, str] = {}
        self.found: dict[str, ByFile] = {}
        self.published: set[str] = set()
        self.waiting: asyncio.TimerHandle | None = None
        self.may_exit = False
        """Whether the editor has asked for the shutdown that comes before an exit."""

    # --- texts -----------------------------------------------------------------------------------

    def put(self, uri: str, text: str, language: str | None = None) -> None:
        """A text was opened or has changed."""
        if uri not in self.paths:
            path = _path_of(uri, language)
            self.paths[uri] = path
            self.uris[os.path.realpath(path)] = uri
        path = self.paths[uri]
        self.line_ends[path] = "\r\n" if "\r\n" in text else "\n"
        self.open.put(path, text)

    def drop(self, uri: str) -> None:
        """A text was closed."""
        path = self.paths.pop(uri, None)
        if path is not None:
            self.uris.pop(os.path.realpath(path), None)
            self.line_ends.pop(path, None)
            self.found.pop(path, None)
            self.open.remove(path)

    def uri_of(self, path: str) -> str:
        """What the editor calls a file."""
        return self.uris.get(os.path.realpath(path)) or from_fs_path(path) or path

    def translator(self) -> Translator:
        """Places as this editor counts them."""
        encoding: Encoding = "utf-16"
        if self.workspace.position_encoding == lsp.PositionEncodingKind.Utf8:
            encoding = "utf-8"
        elif self.workspace.position_encoding == lsp.PositionEncodingKind.Utf32:
            encoding = "utf-32"
        return Translator(self.open.lines, self.uri_of, encoding, lambda path: self.line_ends.get(path, "\n"))

    def at(self, uri: str) -> str:
        """The path of a text. Raises PriorError where it is neither open nor a prior file on disk."""
        path = self.paths.get(uri) or _path_of(uri, None)
        if not is_prior(self.open.source(path)):
            raise PriorError([])
        return path

    # --- findings --------------------------------------------------------------------------------

    def check_soon(self, delay: float = QUIET_SECONDS) -> None:
        """Check the open texts once nothing has changed for a while."""
        if self.waiting is not None:
            self.waiting.cancel()
        self.waiting = asyncio.get_running_loop().call_later(delay, self.check)

    def check(self) -> None:
        """Check every open text, and tell the editor what there is to say about each file."""
        self.waiting = None
        by_file = self.findings()
        translator = self.translator()
        now: dict[str, list[lsp.Diagnostic]] = {}
        for file, findings in by_file.items():
            now.setdefault(self.uri_of(file), []).extend(map(translator.diagnostic, findings))
        for uri in self.published - now.keys():
            now[uri] = []
        for uri, diagnostics in now.items():
            self.text_document_publish_diagnostics(lsp.PublishDiagnosticsParams(uri, diagnostics))
        self.published = {uri for uri, diagnostics in now.items() if diagnostics}

    def findings(self) -> dict[str, tuple[Finding, ...]]:
        """What there is to say about the open texts and the files they import, by file."""
        for path in self.paths.values():
            found = findings_of(self.open, path)
            if found is not None:
                self.found[path] = found
        return merged(self.found.values())

    def report_server_error(self, error: Exception, source: Any) -> None:
        """An answer carries its own error; a window on top of it would say it twice."""


def build_server() -> PriorServer:
    """The server with everything it answers."""
    server = PriorServer()
    for register in (_synchronize, _describe, _navigate, _change):
        register(server)
    return server


def _synchronize(server: PriorServer) -> None:
    @server.feature(lsp.SHUTDOWN)
    def shutting_down(params: None) -> None:
        server.may_exit = True

    @server.feature(lsp.INITIALIZED)
    def initialized(params: lsp.InitializedParams) -> None:
        folders = (to_fs_path(uri) for uri in server.workspace.folders)
        server.open.folders = [folder for folder in folders if folder is not None]

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WORKSPACE_FOLDERS)
    def folders_changed(params: lsp.DidChangeWorkspaceFoldersParams) -> None:
        initialized(lsp.InitializedParams())

    @server.feature(lsp.TEXT_DOCUMENT_DID_OPEN)
    def opened(params: lsp.DidOpenTextDocumentParams) -> None:
        document = params.text_document
        server.put(document.uri, document.text, document.language_id)
        server.check_soon(0)

    @server.feature(lsp.TEXT_DOCUMENT_DID_CHANGE)
    def changed(params: lsp.DidChangeTextDocumentParams) -> None:
        uri = params.text_document.uri
        server.put(uri, server.workspace.get_text_document(uri).source)
        server.check_soon()

    @server.feature(lsp.TEXT_DOCUMENT_DID_SAVE)
    def saved(params: lsp.DidSaveTextDocumentParams) -> None:
        server.open.refresh()
        server.check_soon(0)

    @server.feature(lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES)
    def changed_on_disk(params: lsp.DidChangeWatchedFilesParams) -> None:
        server.open.refresh()
        server.check_soon()

    @server.feature(lsp.TEXT_DOCUMENT_DID_CLOSE)
    def closed(params: lsp.DidCloseTextDocumentParams) -> None:
        server.drop(params.text_document.uri)
        server.check_soon(0)


def _describe(server: PriorServer) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_HOVER)
    def hovered(params: lsp.HoverParams) -> lsp.Hover | None:
        def answer() -> lsp.Hover | None:
            path, to = server.at(params.text_document.uri), server.translator()
            found = hover(server.open, path, to.place(path, params.position))
            if found is None:
                return None
            return lsp.Hover(lsp.MarkupContent(lsp.MarkupKind.Markdown, found.text), to.range(found.span))

        return _readable(answer)

    @server.feature(
        lsp.TEXT_DOCUMENT_COMPLETION, lsp.CompletionOptions(trigger_characters=["$", '"', "{", "("])
    )
    def completed(params: lsp.CompletionParams) -> lsp.CompletionList | None:
        def answer() -> lsp.CompletionList:
            path, to = server.at(params.text_document.uri), server.translator()
            found = complete(server.open, path, to.place(path, params.position))
            return lsp.CompletionList(is_incomplete=False, items=[to.completion(item) for item in found])

        return _readable(answer)

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_SYMBOL)
    def outlined(params: lsp.DocumentSymbolParams) -> list[lsp.DocumentSymbol] | None:
        def answer() -> list[lsp.DocumentSymbol]:
            path, to = server.at(params.text_document.uri), server.translator()
            return [to.symbol(entry) for entry in outline(server.open.source(path))]

        return _readable(answer)


def _navigate(server: PriorServer) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_DEFINITION)
    def defined(params: lsp.DefinitionParams) -> list[lsp.Location] | None:
        def answer() -> list[lsp.Location]:
            path, to = server.at(params.text_document.uri), server.translator()
            return [
                to.location(span) for span in definitions(server.open, path, to.place(path, params.position))
            ]

        return _readable(answer)

    @server.feature(lsp.TEXT_DOCUMENT_REFERENCES)
    def referred(params: lsp.ReferenceParams) -> list[lsp.Location] | None:
        def answer() -> list[lsp.Location]:
            path, to = server.at(params.text_document.uri), server.translator()
            place, whole = to.place(path, params.position), params.context.include_declaration
            found = references(server.open, path, place, with_declaration=whole)
            return [to.location(item.span) for item in found]

        return _readable(answer)

    @server.feature(lsp.TEXT_DOCUMENT_DOCUMENT_HIGHLIGHT)
    def highlighted(params: lsp.DocumentHighlightParams) -> list[lsp.DocumentHighlight] | None:
        def answer() -> list[lsp.DocumentHighlight]:
            path, to = server.at(params.text_document.uri), server.translator()
            found = name_at(server.open, path, to.place(path, params.position))
            names = occurrences(server.open.source(path)) if found is not None else ()
            return [
                lsp.DocumentHighlight(to.range(item.span))
                for item in names
                if found is not None and item.symbol == found.symbol
            ]

        return _readable(answer)


def _change(server: PriorServer) -> None:
    @server.feature(lsp.TEXT_DOCUMENT_PREPARE_RENAME)
    def preparing(params: lsp.PrepareRenameParams) -> lsp.PrepareRenamePlaceholder | None:
        def answer() -> lsp.PrepareRenamePlaceholder:
            path, to = server.at(params.text_document.uri), server.translator()
            found = renamable(server.open, path, to.place(path, params.position))
            return lsp.PrepareRenamePlaceholder(to.range(found.span), found.symbol.name)

        return _readable(answer)

    @server.feature(lsp.TEXT_DOCUMENT_RENAME, lsp.RenameOptions(prepare_provider=True))
    def renamed(params: lsp.RenameParams) -> lsp.WorkspaceEdit | None:
        def answer() -> lsp.WorkspaceEdit:
            path, to = server.at(params.text_document.uri), server.translator()
            return to.workspace_edit(
                rename(server.open, path, to.place(path, params.position), params.new_name)
            )

        return _readable(answer)

    @server.feature(lsp.TEXT_DOCUMENT_FORMATTING)
    def laid_out(params: lsp.DocumentFormattingParams) -> list[lsp.TextEdit] | None:
        def answer() -> list[lsp.TextEdit]:
            path, to = server.at(params.text_document.uri), server.translator()
            source = server.open.source(path)
            return [to.text_edit(edit) for edit in replacement(source.text, formatted(source), path)]

        return _readable(answer)

    @server.feature(
        lsp.TEXT_DOCUMENT_CODE_ACTION, lsp.CodeActionOptions(code_action_kinds=[lsp.CodeActionKind.QuickFix])
    )
    def fixed(params: lsp.CodeActionParams) -> list[lsp.CodeAction] | None:
        path, to = server.paths.get(params.text_document.uri), server.translator()
        if path is None:
            return None
        touched = fixable(server.findings().get(path, ()), to.span(path, params.range))
        return [action for finding in touched if (action := to.quick_fix(finding)) is not None]


def _readable(answer: Callable[[], T]) -> T | None:
    """The answer, or None about a file that cannot be read; a refusal goes to the user in its own words."""
    try:
        return answer()
    except PriorError:
        return None
    except RefusedError as refusal:
        raise JsonRpcException(str(refusal), lsp.LSPErrorCodes.RequestFailed) from None


def _path_of(uri: str, language: str | None) -> str:
    """The path of a file; of a text without one, a name with the ending of its language."""
    path = to_fs_path(uri) if uri.startswith("file:") else None
    if path is not None:
        return path
    unsaved_yaml = language == "yaml" and not uri.endswith((".yaml", ".yml"))
    return f"{uri}.yaml" if unsaved_yaml else uri
