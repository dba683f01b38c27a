"""A tokenizer on disk: the same to the last bit, or refused in one line."""

import json

import numpy as np
import pytest

from features.tokenizers import FITTED, KINDS, ROWS, fitted
from walkforge.base import FeatureError, read_json, write_json
from walkforge.features import read_tokenizer, write_tokenizer

DESCRIPTION, ARRAYS = "tokenizer.json", "tokenizer.safetensors"


@pytest.fixture(params=KINDS)
def folder(request, tmp_path):
    write_tokenizer(tmp_path, fitted(request.param))
    return tmp_path


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_comes_back_from_its_files_to_the_last_bit(kind, tmp_path):
    tokenizer = fitted(kind)
    write_tokenizer(tmp_path / "new", tokenizer)
    back = read_tokenizer(tmp_path / "new")
    assert (back.rule, back.fitted, back.digest) == (tokenizer.rule, FITTED, tokenizer.digest)
    np.testing.assert_array_equal(back.centres, tokenizer.centres)
    np.testing.assert_array_equal(back.encode(ROWS), tokenizer.encode(ROWS))


def test_the_bins_asked_for_come_back(tmp_path):
    write_tokenizer(tmp_path, fitted("bins", bins=(4, 2, 3, 1, 2)))
    assert read_tokenizer(tmp_path).rule.bins == (4, 2, 3, 1, 2)


def test_the_description_tells_rule_range_and_digest(folder):
    told = read_json(folder / DESCRIPTION)
    assert told["fitted"]["from_ms"] == FITTED[0]
    assert told["fitted"]["from"] == "2020-01-01 00:00"
    assert told["vector"] == ["move", "body", "upper", "lower", "volume"]
    assert told["rule"]["vocabulary"] == told["vocabulary"] == 64
    assert told["digest"] == read_tokenizer(folder).digest


def test_writing_again_replaces_both_files_and_leaves_nothing_else(folder):
    other = fitted("vq", vocabulary=32)
    write_tokenizer(folder, other)
    assert read_tokenizer(folder).digest == other.digest
    assert sorted(path.name for path in folder.iterdir()) == [DESCRIPTION, ARRAYS]


def refused(folder, told):
    with pytest.raises(FeatureError, match=told) as error:
        read_tokenizer(folder)
    assert "\n" not in str(error.value)
    assert str(folder) in str(error.value)


@pytest.mark.parametrize("name", [DESCRIPTION, ARRAYS])
def test_a_missing_file_is_refused(folder, name):
    (folder / name).unlink()
    refused(folder, name)


@pytest.mark.parametrize("name", [DESCRIPTION, ARRAYS])
@pytest.mark.parametrize("share", [0.0, 0.4, 0.9])
def test_a_file_that_is_cut_off_is_refused(folder, name, share):
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[: int(len(whole) * share)])
    refused(folder, name)


@pytest.mark.parametrize("name", [DESCRIPTION, ARRAYS])
def test_a_file_of_something_else_is_refused(folder, name):
    (folder / name).write_bytes(b"\x93NUMPY\x00\xff" * 100)
    refused(folder, name)


def test_a_changed_number_is_refused(folder):
    content = bytearray((folder / ARRAYS).read_bytes())
    content[-3] ^= 1
    (folder / ARRAYS).write_bytes(bytes(content))
    refused(folder, "digest")


def test_the_arrays_of_another_tokenizer_are_refused(folder, tmp_path):
    write_tokenizer(tmp_path / "other", fitted(read_json(folder / DESCRIPTION)["rule"]["kind"],
                                               rows=ROWS[:3000]))  # fmt: skip
    (tmp_path / "other" / ARRAYS).replace(folder / ARRAYS)
    refused(folder, "taken from another tokenizer")


@pytest.mark.parametrize(
    "change",
    [
        {"fitted": {"from_ms": FITTED[0], "to_ms": FITTED[1] + 1}},
        {"fitted": {}},
        {"fitted": None},
        {"digest": "0" * 64},
        {"rule": {"kind": "vq"}},
        {"rule": {"kind": "pca", "vocabulary": 64, "bins": None}},
        {"rule": {"kind": "vq", "vocabulary": 64, "bins": None, "wings": 2}},
        {"rule": {"kind": "vq", "vocabulary": 65, "bins": None}},
        {"rule": {"kind": "bins", "vocabulary": 65, "bins": None}},
        {"rule": []},
    ],
)
def test_a_changed_description_is_refused(folder, change):
    write_json(folder / DESCRIPTION, read_json(folder / DESCRIPTION) | change)
    refused(folder, "tokenizer")


def test_a_description_that_is_a_list_is_refused(folder):
    (folder / DESCRIPTION).write_text(json.dumps([1, 2]))
    refused(folder, "not the description")
