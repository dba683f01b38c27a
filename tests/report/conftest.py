"""A made run folder, and its page, for all tests of the report."""

from pathlib import Path

import pytest

from report.made_run import make_run
from walkforge.report import write_report


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run folder with its report; nobody changes it."""
    folder = make_run(tmp_path_factory.mktemp("runs") / "trial")
    write_report(folder)
    return folder
