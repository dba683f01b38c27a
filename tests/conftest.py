"""Where the shared real bars are; tests that need them skip with the reason where they are not."""

import atexit
import gc
import os
import shutil
import signal
import tempfile

# No test reads or fills the cache of whoever runs it, nor the trial ledger; processes that tests
# start inherit this.
os.environ["WALKFORGE_CACHE"] = tempfile.mkdtemp(prefix="walkforge-tests-")
os.environ["WALKFORGE_WORKSPACE"] = tempfile.mkdtemp(prefix="walkforge-tests-")

# Tests are many and their arrays small: one thread each is faster than threads that wait.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every run: a red test is then a change's doing, and can be run again.
settings.register_profile("steady", derandomize=True)
settings.load_profile("steady")

for _place in ("WALKFORGE_CACHE", "WALKFORGE_WORKSPACE"):
    atexit.register(shutil.rmtree, os.environ[_place], ignore_errors=True)


def pytest_collection_finish():
    """Look through what was imported no more: every full collection would, for half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def in_front():
    """Signals as in a terminal: a job in the background begins with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, signal.SIG_DFL if before is None else before)


_BESIDE_THE_REPOSITORY = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.hookimpl(wrapper=True)
def pytest_fixture_setup(fixturedef, request):
    """Let what several tests share begin with a ledger of its own: else the number of trials, and
    with it every deflated Sharpe ratio, would go by which of them was asked for first.
    """
    if fixturedef.scope == "function":
        return (yield)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as place:
        patch.setenv("WALKFORGE_WORKSPACE", place)
        return (yield)


@pytest.fixture(autouse=True)
def workspace(tmp_path_factory, monkeypatch) -> Path:
    """Return the workspace that a test has for itself, with no trial in its ledger yet."""
    place = tmp_path_factory.mktemp("workspace")
    monkeypatch.setenv("WALKFORGE_WORKSPACE", str(place))
    return place


def shared_data_folder() -> Path:
    return Path(os.environ.get("WALKFORGE_TEST_DATA", _BESIDE_THE_REPOSITORY))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Return the folder of shared real bars."""
    folder = shared_data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real bars at {folder}; set WALKFORGE_TEST_DATA")
    return folder


@pytest.fixture(scope="session")
def small_run(tmp_path_factory) -> Path:
    """Return the folder of a finished small run on noise."""
    from study_runs import small_bars, small_study
    from walkforge import study

    out = tmp_path_factory.mktemp("runs") / "small"
    return study.run(small_study(), out, bars=small_bars())
