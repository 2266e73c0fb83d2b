"""`priorlang schema prior|train|grid`"""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from priorlang.cli.commands import cli
from priorlang.schema.grid import grid_schema
from priorlang.schema.prior import prior_schema
from priorlang.schema.training import training_schema


@pytest.mark.parametrize(
    ("kind", "schema"), [("prior", prior_schema()), ("train", training_schema()), ("grid", grid_schema())]
)
def test_it_prints_the_schema(kind: str, schema: object) -> None:
    result = CliRunner().invoke(cli, ["schema", kind])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == schema


def test_an_unknown_kind_is_a_usage_error() -> None:
    result = CliRunner().invoke(cli, ["schema", "table"])
    assert result.exit_code == 2
    assert "'prior', 'train', 'grid'" in result.output
