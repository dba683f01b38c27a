"""Progress: a live bar on a terminal, plain lines anywhere else, and what they say."""

import io
import re
import sys
from types import SimpleNamespace

import pytest
from rich.console import Console

from walkforge.cli import _console, _progress_words
from walkforge.cli._console import LiveWatcher, PlainWatcher, make_watcher
from walkforge.cli._live_bar import LiveBar
from walkforge.cli._progress_words import (
    Pace,
    duration,
    epoch_lines,
    epoch_parts,
    fitted,
    gpu_parts,
)

CPU = {
    "epoch": 2,
    "epochs": 100,
    "seconds": 30.0,
    "rows_per_s": 1_234_567.0,
    "memory_bytes": 3.5 * 2**30,
    "members": [
        {"name": f"m{number}", "validation_loss": loss}
        for number, loss in enumerate([1.1, 1.2, 1.4, float("nan")])
    ],
}
GPU = CPU | {
    "gpu_memory_bytes": 12.3 * 2**30,
    "gpu_memory_total_bytes": 80 * 2**30,
    "gpu_utilisation_frac": 0.93,
    "gpu_temperature_c": 64.0,
}
TOKENS = {
    "epoch": 2,
    "epochs": 20,
    "members": [
        {"name": "market fold 0", "seed": 0, "train_loss": 6.68021, "validation_loss": 6.59372,
         "best": True}
    ],
    "seconds": 30.0,
    "rows_per_s": 3_924.0,
    "accuracy": 0.0064286,
    "constant_accuracy": 0.0015789,
    "learning_rate": 0.00033353,
    "tokens_per_s": 4_078.99,
    "mfu_frac": None,
    "roof_frac": 0.6114,
    "memory_bytes": 2.6 * 2**30,
}  # fmt: skip
TOKENS_GPU = GPU | TOKENS | {"tokens_per_s": 3_100_000.0, "mfu_frac": 0.331, "roof_frac": 0.42}


class _Stream(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "variables", "kind"),
    [
        (True, {"TERM": "xterm"}, LiveWatcher),
        (False, {"TERM": "xterm"}, PlainWatcher),
        (True, {"TERM": "dumb"}, PlainWatcher),
        (True, {"TERM": "xterm", "NO_COLOR": "1"}, PlainWatcher),
        (True, {"TERM": "xterm", "NO_COLOR": ""}, LiveWatcher),
    ],
)
def test_a_live_bar_is_drawn_only_where_control_characters_are_welcome(
    terminal, variables, kind, monkeypatch
):
    monkeypatch.setattr(sys, "stderr", _Stream(terminal))
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert type(make_watcher()) is kind


def _tell(watcher, report):
    watcher.stage("training")
    watcher.note("precision [float32]: exact")
    watcher.doing("drawing the order of rows")
    watcher.step(1, 1, 10)
    watcher.epoch(report | {"epoch": 1})
    watcher.epoch(report | {"epoch": 100})
    watcher.stage("baselines")
    watcher.item(0, 2, "lightgbm, BTC fold 0")
    watcher.item(1, 2, "lightgbm, BTC fold 1")


def test_plain_lines_hold_every_number_and_no_control_character(capsys):
    with make_watcher() as watcher:
        _tell(watcher, GPU)
    text = capsys.readouterr().err
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f]", text)
    assert "== training\n   precision [float32]: exact\n" in text
    assert (
        "   epoch 100/100, at most 0:00 left, 4 members, validation loss 1.1000 lowest, 1.2000 "
        "median, 1,234,567 rows/s, 3.5 GiB, GPU 93 % busy, GPU memory 12.3 of 80.0 GiB, 64 °C\n"
    ) in text
    assert "   2/2 lightgbm, BTC fold 1, 0:00 left\n" in text


def test_many_short_epochs_give_few_plain_lines(capsys):
    watcher = PlainWatcher()
    for epoch in range(1, 100):
        watcher.epoch(CPU | {"epoch": epoch})
    assert len(capsys.readouterr().err.splitlines()) < 50


def test_a_long_epoch_is_mentioned_in_between(capsys, monkeypatch):
    now = _clock(monkeypatch)
    watcher = PlainWatcher()
    for step in range(1, 61):
        now[0] += 1
        watcher.step(7, step, 60)
    assert capsys.readouterr().err.splitlines() == [
        f"   epoch 7, step {step}/60, {left} left in it"
        for step, left in ((15, "0:45"), (30, "0:30"), (45, "0:15"), (60, "0:00"))
    ]


def _clock(monkeypatch):
    """Return a list with the time that the words know, s."""
    now = [0.0]
    for module in (_console, _progress_words):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    return now


def test_what_is_left_of_an_epoch_is_known_from_its_second_step_on(monkeypatch):
    now, pace = _clock(monkeypatch), Pace()
    for _ in range(2):  # as slow as it may have been, an epoch says nothing of the next one
        now[0] += 100
        pace.note_step(1, 10)
        assert pace.steps_left_s is None
        now[0] += 3
        pace.note_step(4, 10)
        assert pace.steps_left_s == pytest.approx(6.0)


def test_pieces_of_work_say_what_is_left_and_no_more_of_the_training_before(monkeypatch):
    now = _clock(monkeypatch)
    monkeypatch.setattr(LiveWatcher, "_draw", lambda self: "")
    watcher = LiveWatcher()
    watcher.stage("training")
    watcher.epoch(TOKENS)
    for done in range(3):
        watcher.item(done, 10, f"paths of S{done}")
        assert watcher._bar.report is None
        now[0] += 30
    [line] = _lines(watcher._bar, 80)
    assert "epoch" not in line
    assert "6:00 left, paths of S2" in line


def test_before_its_first_report_the_bar_says_what_is_left_of_the_epoch(monkeypatch):
    now, bar = _clock(monkeypatch), LiveBar("training", done=2, total=10, epoch=1)
    for step in (1, 2):
        now[0] += 60
        bar.pace.note_step(step, 10)
    assert "epoch 1, 8:00 left in it" in _lines(bar, 80)[0]


def _lines(bar, width):
    console = Console(file=io.StringIO(), width=width, force_terminal=False)
    console.print(bar.draw("*", width))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


@pytest.mark.parametrize("width", [20, 40, 60, 80, 100, 200])
@pytest.mark.parametrize(
    ("report", "below"),
    [(None, 0), (CPU, 1), (GPU, 2), (TOKENS, 2), (TOKENS_GPU, 3)],
    ids=["none", "cpu", "gpu", "tokens", "tokens-gpu"],
)
def test_no_line_of_the_bar_is_wider_than_the_terminal(width, report, below):
    bar = LiveBar("features, labels and folds", doing="drawing the order of rows", epoch=3)
    bar.done, bar.total, bar.report = 3, 10, report
    if report is not None:
        bar.pace.note(report)
    lines = _lines(bar, width)
    assert len(lines) == 1 + below
    assert max(map(len, lines)) < width + (width < 60)


def test_at_eighty_columns_the_most_important_numbers_stand_below_the_bar():
    bar = LiveBar("training", done=3, total=10, epoch=3, report=GPU)
    bar.pace.note(GPU)
    top, numbers, gpu = _lines(bar, 80)
    assert "epoch 3/100, at most 49:00 left" in top
    assert numbers == (
        "  4 members, validation loss 1.1000 lowest, 1.2000 median, 1,234,567 rows/s"
    )
    assert gpu == "  GPU 93 % busy, GPU memory 12.3 of 80.0 GiB, 64 °C"


def test_a_model_of_tokens_says_loss_accuracy_speed_and_the_share_of_its_device():
    learned, speed, gpu = epoch_lines(TOKENS_GPU)
    assert learned == [
        "loss 6.6802", "validation 6.5937, its best", "accuracy 0.64 % (constant 0.16 %)"
    ]  # fmt: skip
    assert speed == [
        "3,100,000 tokens/s", "33 % MFU", "42 % of roof", "2.6 GiB", "learning rate 3.3e-04"
    ]  # fmt: skip
    assert gpu == gpu_parts(GPU)


def test_a_cpu_whose_peak_nobody_knows_has_a_roof_and_no_mfu():
    _, speed = epoch_lines(TOKENS)
    assert speed[:2] == ["4,079 tokens/s", "61 % of roof"]


def test_more_than_the_roof_says_that_the_roof_was_measured_too_low():
    assert epoch_lines(TOKENS | {"roof_frac": 6.28})[1][1] == "roof measured too low"


def test_a_model_of_tokens_that_diverged_says_so():
    [member] = TOKENS["members"]
    gone = member | {"train_loss": float("nan"), "validation_loss": None, "best": False}
    assert epoch_lines(TOKENS | {"members": [gone]})[0][:2] == [
        "loss not finite", "validation not finite"
    ]  # fmt: skip


def test_in_80_columns_all_that_a_model_of_tokens_learned_is_read():
    bar = LiveBar("training", done=3, total=10, epoch=3, report=TOKENS_GPU)
    bar.pace.note(TOKENS_GPU)
    _, learned, speed, _ = _lines(bar, 80)
    assert learned.endswith("accuracy 0.64 % (constant 0.16 %)")
    assert speed.endswith("learning rate 3.3e-04")
    assert _lines(bar, 50)[2] == "  3,100,000 tokens/s, 33 % MFU, 42 % of roof"


def test_the_line_of_an_epoch_of_tokens_holds_all_of_it(capsys):
    PlainWatcher().epoch(TOKENS_GPU | {"epoch": 20})
    assert capsys.readouterr().err == (
        "   epoch 20/20, at most 0:00 left, loss 6.6802, validation 6.5937, its best, accuracy "
        "0.64 % (constant 0.16 %), 3,100,000 tokens/s, 33 % MFU, 42 % of roof, 2.6 GiB, "
        "learning rate 3.3e-04, GPU 93 % busy, GPU memory 12.3 of 80.0 GiB, 64 °C\n"
    )


def test_the_live_watcher_keeps_finished_stages_and_takes_brackets_as_they_are(monkeypatch):
    stream = _Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with LiveWatcher() as watcher:
        _tell(watcher, GPU)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "✓ training" in text
    assert "✓ baselines" in text
    assert "precision [float32]: exact" in text


def test_a_stage_that_failed_is_not_ticked_off(monkeypatch):
    stream = _Stream(terminal=True)
    monkeypatch.setattr(sys, "stderr", stream)

    def broken():
        with LiveWatcher() as watcher:
            watcher.stage("training")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        broken()
    assert "✓" not in stream.getvalue()


def test_a_step_of_the_live_bar_draws_nothing(monkeypatch):
    monkeypatch.setattr(LiveWatcher, "_draw", lambda self: "")
    watcher = LiveWatcher()
    monkeypatch.setattr(watcher, "_draw", None)
    watcher.step(1, 2, 3)
    assert (watcher._bar.epoch, watcher._bar.done, watcher._bar.total) == (1, 2, 3)


def test_what_is_left_follows_the_newest_epochs():
    pace = Pace()
    pace.note({"epoch": 1, "epochs": 11, "seconds": 100.0})
    assert pace.left_s == pytest.approx(1000)
    for epoch in range(2, 11):
        pace.note({"epoch": epoch, "epochs": 11, "seconds": 10.0})
    assert 10 < pace.left_s < 15
    pace.note({"epoch": 11, "epochs": 11, "seconds": 10.0})
    assert pace.left_s == 0


def test_words_are_dropped_from_the_end_and_the_first_is_cut():
    assert fitted(["one", "two", "three"], 100) == "one, two, three"
    assert fitted(["one", "two", "three"], 10) == "one, two"
    assert fitted(["something"], 5) == "some…"
    assert fitted(["something"], 0) == ""
    assert fitted([], 5) == ""


@pytest.mark.parametrize(("best", "words"), [(True, "0.5000, its best"), (False, "0.5000")])
def test_a_single_member_says_whether_it_became_better(best, words):
    report = CPU | {"members": [{"validation_loss": 0.5, "best": best}]}
    assert epoch_parts(report)[:2] == ["1 member", f"validation loss {words}"]


def test_members_without_a_finite_loss_are_no_trouble():
    report = CPU | {"members": [{"validation_loss": float("nan")}]}
    assert epoch_parts(report)[:2] == ["1 member", "no finite validation loss"]
    assert gpu_parts(CPU) == []
    assert gpu_parts(CPU | {"gpu_memory_bytes": 2**30}) == ["GPU memory 1.0 GiB"]


def test_durations_read_as_on_a_clock():
    assert [duration(s) for s in (0, 59.6, 61, 3600, 86_399)] == [
        "0:00", "1:00", "1:01", "1:00:00", "23:59:59"
    ]  # fmt: skip
