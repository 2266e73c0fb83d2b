"""Run several command lines in one process, since importing the engine takes longer than what they do.

Reads a JSON list of argument lists; writes a JSON list of {"exit", "stdout", "stderr"}.
"""

from __future__ import annotations

import json
import sys

from click.testing import CliRunner

from priorlang.cli.commands import cli


def main() -> None:
    """Invoke each, in order."""
    results = []
    for arguments in json.load(sys.stdin):
        result = CliRunner().invoke(cli, arguments)
        crash = result.exception if not isinstance(result.exception, SystemExit) else None
        results.append(
            {
                "exit": result.exit_code,
                "stdout": result.stdout,
                "stderr": result.stderr,
                "crash": repr(crash) if crash else "",
            }
        )
    sys.stdout = sys.__stdout__
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()
