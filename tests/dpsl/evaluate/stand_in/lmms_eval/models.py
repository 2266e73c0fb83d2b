"""Importing it sets up the log, which the real one sends to the standard output of that moment."""

import sys

print("a log line", file=sys.stdout)
