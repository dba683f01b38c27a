"""`walkforge audit`: a table, or JSON, and an exit status that can stand in a pipeline."""

import json
from contextlib import contextmanager

from command import call
from walkforge.audit import Fault
from walkforge.audit import _audit_study as room

SMALL = ["--set", "training.epochs=1"]


def test_the_audit_prints_a_line_per_fault_and_exits_with_0():
    status, out, _ = call("audit", "demo", "--fault", "no_purge", "--fault", "no_gaps", *SMALL)
    assert status == 0
    assert "no_purge" in out
    assert "rows" in out
    assert "1 caught, 1 no meaning; 0 findings on the sound pipeline, 1 seed" in out


def test_the_audit_tells_plain_data():
    status, out, _ = call("audit", "demo", "--fault", "no_fees", "--json", *SMALL)
    told = json.loads(out)
    assert status == 0
    assert told["passed"] is True
    assert told["sound"] == {"seeds": [0], "findings": []}
    [fault] = told["faults"]
    assert (fault["fault"], fault["state"], fault["guard"]) == ("no_fees", "caught", "fills")


@contextmanager
def _harmless(sound):
    yield sound.from_stage("trade")


def test_a_missed_fault_exits_with_1(monkeypatch):
    fault = Fault(name="harmless", says="nothing is wrong", stage="trade", planted=_harmless)
    monkeypatch.setattr(room, "FAULTS", (fault,))
    status, out, _ = call("audit", "demo", *SMALL)
    assert status == 1
    assert "missed" in out


def test_an_unknown_fault_is_wrong_usage():
    status, _, err = call("audit", "demo", "--fault", "no_purgy")
    assert status == 2
    assert "no_purge" in err
