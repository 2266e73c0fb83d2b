"""The command line. One short file per subcommand; `commands` lists them, and `validate` alone does without it.

`priorlang validate FILE…` without options is what people and hooks run all day, so it waits for no parser of
options.
"""

from __future__ import annotations

import io
import sys

from priorlang.cli.exits import USAGE


def main() -> None:
    """The `priorlang` command. Only a fault of ours prints a traceback, and it too exits with 2."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may hold bytes that the terminal's encoding cannot show.
            stream.reconfigure(errors="backslashreplace")
    try:
        sys.exit(_run(sys.argv[1:]))
    except BrokenPipeError:
        from priorlang.cli.output import leave_unread

        leave_unread()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)  # noqa: T201
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
    except Exception:
        import traceback

        traceback.print_exc()
        print("\nThis is a fault of priorlang, not of your file; please report it.", file=sys.stderr)  # noqa: T201
    sys.exit(USAGE)


def _run(arguments: list[str]) -> int:
    files = arguments[1:]
    if arguments[:1] == ["validate"] and files and not any(file.startswith("-") for file in files):
        from priorlang.cli.validation import validate

        return validate(files)
    from priorlang.cli.commands import run

    return run()
