"""Routing → the prior it has become."""
