"""The texts that are open in an editor, and the Prior of each file as it stands there. All state is here."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice

from priorlang.diagnostics.finding import PriorError
from priorlang.editor.occurrences import Occurrence, occurrences
from priorlang.editor.places import Lines, normalized
from priorlang.phases import Prior
from priorlang.syntax.source import SourceFile, read_source

MAXIMUM_SEARCHED = 500
"""Files looked at for importers of a name that is to be renamed."""
MAXIMUM_FOLDERS = 5_000
_PASSED_OVER = {"node_modules", "runs", "build", "dist", "__pycache__"}
_ENDINGS = (".prior", ".yaml", ".yml")


@dataclass
class Workspace:
    """Open texts by the path of their file, and the folders that are open.

    A path is whatever names a file: a text that was never saved has a name that no disk knows.
    """

    folders: list[str] = field(default_factory=list)
    _texts: dict[str, SourceFile] = field(default_factory=dict)
    _priors: dict[str, Prior] = field(default_factory=dict)

    def put(self, path: str, text: str) -> None:
        """Open a text, or change it."""
        self._texts[os.path.realpath(path)] = SourceFile(path, normalized(text))
        self._forget(path)

    def remove(self, path: str) -> None:
        """Close a text; from now on the disk tells."""
        self._texts.pop(os.path.realpath(path), None)
        self._forget(path)

    def refresh(self) -> None:
        """Forget what was read from disk."""
        self._priors.clear()

    def _forget(self, path: str) -> None:
        """A file has changed: so has every prior that may import it."""
        target = os.path.realpath(path)
        for name, prior in list(self._priors.items()):
            if os.path.realpath(name) == target or "import" in prior.source.text:
                del self._priors[name]

    def source(self, path: str) -> SourceFile:
        """The text of a file, as the editor has it, else as the disk has it.

        Raises:
            PriorError: it is not open and cannot be read.
        """
        held = self._texts.get(os.path.realpath(path)) if "\0" not in path else None
        return SourceFile(path, held.text) if held is not None else read_source(path)

    def prior(self, path: str) -> Prior:
        """The Prior of a file, with what it imports as the editor has it. Raises PriorError as `source`."""
        if path not in self._priors:
            self._priors[path] = Prior(self.source(path), read=self.source)
        return self._priors[path]

    @property
    def open_priors(self) -> Iterator[str]:
        """The paths of the open texts that are prior files."""
        for source in self._texts.values():
            if is_prior(source):
                yield source.name

    def program(self, path: str) -> tuple[SourceFile, ...]:
        """A file and all it imports; the file alone where it cannot be read."""
        prior = self.prior(path)
        return tuple(file.source for file in prior.program.files.values())

    def names(self, path: str) -> Iterator[Occurrence]:
        """Every name in a file and in what it imports."""
        for source in self.program(path):
            yield from occurrences(source)

    def programs_with(self, path: str) -> Iterator[tuple[SourceFile, ...]]:
        """The program of a file, and of every open or nearby file that stands on it."""
        target = os.path.realpath(path)
        seen = {target}
        yield self.program(path)
        for root in [*self.open_priors, *self._nearby(path)]:
            if os.path.realpath(root) in seen:
                continue
            seen.add(os.path.realpath(root))
            try:
                files = self.program(root)
            except PriorError:
                continue
            if any(os.path.realpath(file.name) == target for file in files):
                yield files

    def lines(self, path: str) -> Lines:
        """The lines of a file; none where it cannot be read."""
        try:
            return Lines(self.source(path).text)
        except PriorError:
            return Lines("")

    def _nearby(self, path: str) -> Iterator[str]:
        """Prior files with imports, on disk in the folders that are open and in the folder of this file."""
        for file in islice(_files_in(self.folders, os.path.dirname(path)), MAXIMUM_SEARCHED):
            try:
                source = self.source(file)
            except PriorError:
                continue
            if is_prior(source) and "import" in source.text:
                yield source.name


def _files_in(folders: list[str], alone: str) -> Iterator[str]:
    """The files that may be priors, in these folders and all below, and in one without those below."""
    walks = (os.walk(folder) for folder in folders if os.path.isdir(folder))
    for here, below, files in islice(chain.from_iterable(walks), MAXIMUM_FOLDERS):
        below[:] = [name for name in sorted(below) if _worth_a_look(name)]
        yield from (os.path.join(here, name) for name in sorted(files) if name.endswith(_ENDINGS))
    if os.path.isdir(alone):
        yield from (
            os.path.join(alone, name) for name in sorted(os.listdir(alone)) if name.endswith(_ENDINGS)
        )


def is_prior(source: SourceFile) -> bool:
    """Whether a file is a prior: by its ending, or in YAML by its key `priorlang`."""
    if source.is_yaml:
        return re.search(r"^priorlang[ \t]*:", source.text, re.MULTILINE) is not None
    return True


def is_training(source: SourceFile) -> bool:
    """Whether a file is a training file."""
    from priorlang.training import is_training_file

    return source.is_yaml and not is_prior(source) and is_training_file(source)


def _worth_a_look(folder: str) -> bool:
    return not folder.startswith(".") and folder not in _PASSED_OVER
