"""Measurements, not tests: `python -m tests.benchmarks [NAME...]` runs them and prints ratios."""
