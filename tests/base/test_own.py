"""A user's own function: named by file and name, run once for each of its contents."""

import sys
from pathlib import Path

import pytest

from own_parts import written
from walkforge.base import (
    FeatureError,
    OwnPart,
    UsageError,
    absolute_own,
    digest_of_file,
    load_own,
    split_own,
)


def _load(tmp_path, source):
    return load_own(written(tmp_path, "parts.py", source), "features.own", FeatureError)


def test_a_function_is_loaded_with_the_digest_of_its_file(tmp_path):
    part = _load(tmp_path, "def make(x):\n    return 2 * x\n")
    assert part(21) == 42
    assert part.digest == digest_of_file(tmp_path / "parts.py")
    assert part.title == "parts.py:make"
    assert part.as_dict() == {"own": f"{tmp_path / 'parts.py'}:make", "sha256": part.digest}


def test_a_changed_file_is_another_part_even_within_the_second(tmp_path):
    """Compiled copies are found by the file's time in seconds and its length."""
    first = _load(tmp_path, "def make():\n    return 1\n")
    again = _load(tmp_path, "def make():\n    return 1\n")
    second = _load(tmp_path, "def make():\n    return 2\n")
    assert (first(), second()) == (1, 2)
    assert first == again
    assert first != second
    assert not list(tmp_path.rglob("*.pyc"))


def test_a_file_is_run_once_however_often_it_is_named(tmp_path):
    source = f"import sys\nsys.own_part_runs = getattr(sys, 'own_part_runs', 0) + 1  # {tmp_path}\n"
    source += "def make(): pass\ndef other(): pass\n"
    text = written(tmp_path, "parts.py", source)
    for name in (text, text, text.replace("make", "other")):
        load_own(name, "features.own")
    assert sys.own_part_runs == 1
    del sys.own_part_runs


def test_dataclasses_and_own_helpers_of_the_file_work(tmp_path):
    source = "from __future__ import annotations\nfrom dataclasses import dataclass\n"
    source += "@dataclass\nclass Pair:\n    a: int\ndef make(a):\n    return Pair(a).a\n"
    assert _load(tmp_path, source)(7) == 7


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("def make():\n    return 1 / 0\n", r"parts.py:2: parts.py:make failed: ZeroDivisionError"),
        ("def make():\n    import math\n    return math.sqrt(-1)\n", r"parts.py:3: .*ValueError"),
        ("import sys\ndef make():\n    sys.exit(3)\n", r"parts.py:3: .*SystemExit: 3"),
    ],
)
def test_an_error_in_the_function_is_one_line_with_file_and_line(tmp_path, source, expected):
    with pytest.raises(FeatureError, match=expected) as caught:
        _load(tmp_path, source)()
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None, "--debug shows the user's own traceback"


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = 1\ndef make(:\n", r"parts.py:2: parts.py cannot be loaded: SyntaxError"),
        ("x = 1\nimport no_such_package\n", r"parts.py:2: .*ModuleNotFoundError: .*no_such"),
        ("raise RuntimeError('first\\nsecond')\n", r"parts.py:1: .*RuntimeError: first$"),
    ],
)
def test_an_error_in_the_file_itself_is_one_line_with_file_and_line(tmp_path, source, expected):
    with pytest.raises(FeatureError, match=expected):
        _load(tmp_path, source)


def test_what_is_not_there_is_said_with_what_is(tmp_path):
    with pytest.raises(UsageError, match=r"has no function 'make' \(did you mean 'maker'\?\)"):
        _load(tmp_path, "make = 3\ndef maker(): pass\n")
    with pytest.raises(UsageError, match=r"features.own: .*nowhere.py: No such file"):
        load_own(f"{tmp_path}/nowhere.py:make", "features.own")


@pytest.mark.parametrize(
    "text", ["make", "parts.py", "parts.txt:make", "parts.py:", "parts.py:a-b"]
)
def test_only_a_python_file_and_a_name_name_a_part(text):
    with pytest.raises(UsageError, match=r"features.own is .*expected a Python file"):
        split_own(text, "features.own")


def test_paths_are_relative_to_the_folder_that_is_told():
    assert absolute_own("a/b.py:make", Path("/somewhere"), "key") == "/somewhere/a/b.py:make"
    assert absolute_own("/there/b.py:make", Path("/somewhere"), "key") == "/there/b.py:make"


def test_parts_are_keys():
    one, other = (OwnPart(Path("a.py"), "f", "1", b"", print, UsageError) for _ in range(2))
    assert {one: 1}[other] == 1
