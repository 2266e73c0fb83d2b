"""Fixtures for every test: a small copy of the digits example, made once per run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from digits_example import prepare_digits
from filelock import FileLock


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits example from forty scans: images, JSON files and the model folder. Not to be written to.

    Parallel workers share one copy.
    """
    shared = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with FileLock(shared / "digits.lock"):
        prepare_digits(shared / "digits")
    return shared / "digits"
