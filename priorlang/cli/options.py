"""Options that several commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from priorlang.model_config import GivenModel

F = TypeVar("F", bound=Callable[..., Any])

format_option = click.option(
    "--format",
    "output_format",
    type=click.Choice(["human", "json"]),
    default="human",
    show_default=True,
    help="How to print.",
)
set_option = click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="NAME=VALUE",
    help="Give a declared parameter another value; may be repeated.",
)
model_option = click.option(
    "--model",
    "model_config",
    metavar="CONFIG.json",
    help="Take layers, experts and top_k from a transformers config, and hold the file to it.",
)
quiet_option = click.option("--quiet", is_flag=True, help="No remarks on standard error.")
always_quiet_option = click.option(
    "--quiet", is_flag=True, expose_value=False, help="No remarks on standard error; this command makes none."
)
"""Scripts that say --quiet need not know which command remarks on what it does."""
priors_only_option = click.option(
    "--priors-only", is_flag=True, help="Pass over YAML files without the key `priorlang`, as hooks want."
)


def given_by(model_config: str | None) -> GivenModel | None:
    """The model of `--model`. Raises PriorError where its file is no model config."""
    if model_config is None:
        return None
    from priorlang.model_config import read_model

    return read_model(model_config)
