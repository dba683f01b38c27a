"""What the tests of comparisons share."""

import shutil

import pytest


@pytest.fixture
def copy(small_run, tmp_path):
    """Return what makes a copy of the small run under a name."""
    return lambda name: shutil.copytree(small_run, tmp_path / name)
