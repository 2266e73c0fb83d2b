"""The subcommands, each imported only when it is called."""

from __future__ import annotations

import importlib

import click

from priorlang.cli.exits import CLEAN, USAGE
from priorlang.cli.output import leave_unread

COMMANDS = {
    "init": "Start a project from a ready-made prior.",
    "validate": "Check prior files or training files.",
    "compile": "Compile a prior file to a table.",
    "explain": "Say why a cell asks for what it asks for.",
    "fmt": "Lay prior files out in the canonical way.",
    "convert": "Write a prior file in the other form.",
    "diff": "Compare two priors, tables or runs.",
    "fit": "Write the prior that the routing of a run has become.",
    "preview": "Draw what a prior asks for.",
    "train": "Train as a training file says.",
    "upcycle": "Make a dense checkpoint a mixture of experts.",
    "evaluate": "Let a trained model take benchmarks.",
    "grid": "Train methods × priors × seeds over a training file, and compare them.",
    "report": "Write the report of a run.",
    "schema": "Print the JSON Schema of a file.",
    "lsp": "Language server on standard streams.",
    "help": "Explain a finding.",
}


class _LazyGroup(click.Group):
    """Imports the module of a subcommand when it is asked for: `validate` never waits for torch."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            leave_unread()

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"priorlang.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            from priorlang.diagnostics.suggest import closest

            meant = closest(args[0], COMMANDS) if args else None
            hint = f"; did you mean `{meant}`?" if meant else f"; there are {', '.join(COMMANDS)}"
            raise click.UsageError(f"there is no command `{args[0]}`{hint}", ctx) from error

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=_LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="priorlang", message="priorlang %(version)s")
@click.option("--local_rank", hidden=True, expose_value=False, help="What the deepspeed launcher adds.")
def cli() -> None:
    """Say how a mixture-of-experts model should route, and train it to.

    Exit codes: 0 clean (or the same), 1 findings (or different), 2 usage, I/O or crash.
    """


def run() -> int:
    """Run the command that the arguments of this process name.

    Returns:
        The exit code; a command leaves by SystemExit.
    """
    try:
        cli.main(prog_name="priorlang", standalone_mode=False)
    except click.ClickException as error:
        error.show()
    except click.Abort as error:
        raise KeyboardInterrupt from error
    else:
        return CLEAN
    return USAGE
