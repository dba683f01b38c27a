"""Where the shared real bars are; tests that need them skip with the reason where they are not."""

import os
from pathlib import Path

import pytest

_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


def shared_data_folder() -> Path:
    return Path(os.environ.get("WALKFORGE_TEST_DATA", _BESIDE_THE_REPOSITORY))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of shared real bars."""
    folder = shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real bars at {folder}; set WALKFORGE_TEST_DATA")
    return folder
