"""`python -m priorlang` is `priorlang`."""

from priorlang.cli import main

main()
