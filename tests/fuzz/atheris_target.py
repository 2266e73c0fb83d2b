"""`python -m tests.fuzz.atheris_target [libFuzzer options]`: texts that coverage leads to, by atheris.

atheris is no dependency of the project: install it by hand where it has a wheel, and run until something breaks.
"""

from __future__ import annotations

import sys

from tests.fuzz.check import check


def one_input(data: bytes) -> None:
    """The first byte chooses the form; the rest is the text."""
    name = "fuzz.yaml" if data[:1] > b"\x7f" else "fuzz.prior"
    check(name, data[1:].decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n"))


def main() -> None:
    """Run; atheris ends the process at the first failure."""
    try:
        import atheris
    except ImportError:
        sys.exit(
            "atheris is not installed: `pip install atheris`, or run `python -m tests.fuzz`, which needs nothing"
        )
    atheris.instrument_all()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
