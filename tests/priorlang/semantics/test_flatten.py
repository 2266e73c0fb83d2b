"""A program of several files, written as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from priorlang.phases import Prior
from priorlang.semantics.flatten import flattened
from priorlang.syntax.source import SourceFile

LANGUAGE = Path(__file__).parents[2] / "files" / "language"


@pytest.mark.parametrize("name", ["g-today.prior", "g-today.yaml", "c-task.prior", "b-modality.prior"])
def test_one_file_means_the_same(name: str) -> None:
    prior = Prior.read(LANGUAGE / name)
    text = flattened(prior.program)
    alone = Prior(SourceFile("flat.prior", text))
    assert [finding.name for finding in alone.findings] == [finding.name for finding in prior.findings]
    assert "import" not in text
    assert alone.table.header.normal_form == prior.table.header.normal_form
    assert {rule.name for rule in alone.spec.rules} == {rule.name for rule in prior.spec.rules}


def test_comments_of_the_root_stay_with_their_statements(tmp_path: Path) -> None:
    (tmp_path / "base.prior").write_text(
        "priorlang 1\nmodel { layers = 2  experts = 4  top_k = 1 }\n\n# hidden\ndefault base 1 weight 0.01\n"
    )
    root = tmp_path / "root.prior"
    root.write_text('# mine\npriorlang 1\nimport "base.prior"\n\n# stronger\ndefault base 1 weight 0.1\n')
    text = flattened(Prior.read(root).program)
    assert "# stronger\ndefault base 1 weight 0.1" in text
    assert text.startswith("# mine\npriorlang 1\n")
    assert "hidden" not in text
