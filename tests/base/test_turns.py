"""One writer at a time: others wait, and say so where they waited long enough."""

import pytest

from walkforge.base import BarsError, RunError, taking_turns


@pytest.mark.parametrize("refusal", [BarsError, RunError])
def test_a_path_that_another_holds_too_long_is_refused_in_one_line(tmp_path, refusal):
    path = tmp_path / "new" / "1m"
    said = r"/1m: another process has been writing it for 0\.05 seconds; wait for it, or end it$"
    with taking_turns(path, refusal):
        with pytest.raises(refusal, match=said), taking_turns(path, refusal, patience_s=0.05):
            pass
        with taking_turns(path.with_name("5m"), refusal, patience_s=0.05):
            pass


def test_a_path_is_free_again_after_a_failure(tmp_path):
    path = tmp_path / "1m"
    with pytest.raises(ZeroDivisionError), taking_turns(path, RunError):
        raise ZeroDivisionError
    with taking_turns(path, RunError, patience_s=0.05):
        assert [file.name for file in tmp_path.iterdir()] == [".1m.lock"]
