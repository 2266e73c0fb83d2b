"""Stands in for lmms-eval 0.7.3 in tests: the names, signatures and results that the seam uses."""
