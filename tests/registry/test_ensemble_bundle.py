"""An ensemble is one bundle: whole copies, weights that sum to 1, and nothing of another kind."""

import json

import pytest
import torch

from walkforge.base import BundleError, digest_of_file
from walkforge.registry import read_bundle, write_bundle, write_ensemble, write_trees

ALONE = ("model", "features", "feature_set", "window_bars", "scaler", "calibrator")
COMMON = {
    "label": {"kind": "quantile"},
    "classes": ["down", "hold", "up"],
    "symbols": ["AAA"],
    "timeframe": "1m",
    "calendar": "24/7",
    "trained": ["2024-01-01 00:00", "2024-01-02 00:00"],
}


def _network(folder, number=0.0, **other):
    described = dict.fromkeys(ALONE, 1) | COMMON | {"model": {"name": "mlp"}} | other
    write_bundle(folder, described, {"w": torch.full((2,), number)})
    return folder


def _trees(folder):
    write_trees(folder, dict.fromkeys(ALONE, 1) | COMMON | {"model": {"name": "lightgbm"}}, "äb\n")
    return folder


@pytest.fixture
def members(tmp_path):
    """Return the folders of two networks of one name and of trees."""
    return [
        _network(tmp_path / "a" / "one", 1.0),
        _network(tmp_path / "b" / "one", 2.0),
        _trees(tmp_path / "a" / "trees"),
    ]


@pytest.fixture
def ensemble(tmp_path, members):
    """Return the folder of an ensemble of the three."""
    write_ensemble(tmp_path / "e", COMMON, members, [0.5, 0.3, 0.2])
    return tmp_path / "e"


def _forge(folder, change):
    """Change bundle.json and set the manifest right, as somebody could who wants to."""
    path, manifest = folder / "bundle.json", folder / "manifest.json"
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))
    digests = json.loads(manifest.read_text())["sha256"]
    digests["bundle.json"] = digest_of_file(path)
    manifest.write_text(json.dumps({"sha256": digests}))


def test_an_ensemble_comes_back_with_whole_members_and_weights(ensemble):
    read = read_bundle(ensemble)
    assert [weight for weight, _ in read.members] == [0.5, 0.3, 0.2]
    networks = [member for _, member in read.members[:2]]
    assert [float(one.weights["w"][0]) for one in networks] == [1.0, 2.0]
    assert read.members[2][1].trees == "äb\n"
    places = [one["bundle"] for one in read.description["model"]["members"]]
    assert places == ["members/one", "members/one_2", "members/trees"]
    assert (read.weights, read.trees) == ({}, None)
    assert read.description["classes"] == ["down", "hold", "up"]


def test_the_manifest_names_every_file(ensemble):
    named = json.loads((ensemble / "manifest.json").read_text())["sha256"]
    files = {path.relative_to(ensemble).as_posix() for path in ensemble.rglob("*.*")}
    assert set(named) == files - {"manifest.json"}
    assert len(named) == 1 + 3 * 3


@pytest.mark.parametrize(
    "name",
    ["bundle.json", "members/one/weights.safetensors", "members/one_2/manifest.json",
     "members/trees/trees.txt"],
)  # fmt: skip
def test_a_changed_byte_anywhere_is_refused(ensemble, name):
    whole = bytearray((ensemble / name).read_bytes())
    whole[-2] ^= 1
    (ensemble / name).write_bytes(whole)
    with pytest.raises(BundleError, match=f"{name}.*was changed or cut off"):
        read_bundle(ensemble)


def test_a_missing_member_is_refused(ensemble):
    (ensemble / "members" / "one" / "bundle.json").unlink()
    with pytest.raises(BundleError, match="missing, though the manifest names it"):
        read_bundle(ensemble)


def test_a_member_that_is_an_ensemble_is_taken_apart(tmp_path, ensemble, members):
    write_ensemble(tmp_path / "f", COMMON, [ensemble, members[0]], [0.5, 0.5])
    read = read_bundle(tmp_path / "f")
    assert [weight for weight, _ in read.members] == [0.25, 0.15, 0.1, 0.5]
    names = [member.folder.name for _, member in read.members]
    assert names == ["one", "one_2", "trees", "one_3"]


def test_a_forged_ensemble_within_an_ensemble_is_refused(tmp_path, ensemble, members):
    write_ensemble(tmp_path / "f", COMMON, [members[0]], [1.0])
    (tmp_path / "f" / "members" / "one").rename(tmp_path / "aside")
    ensemble.rename(tmp_path / "f" / "members" / "one")
    digests = {"bundle.json": digest_of_file(tmp_path / "f" / "bundle.json")}
    (tmp_path / "f" / "manifest.json").write_text(json.dumps({"sha256": digests}))
    with pytest.raises(BundleError, match="members/one is an ensemble; expected one model"):
        read_bundle(tmp_path / "f")


@pytest.mark.parametrize("place", ["../a/one", "members/../../a/one", "members/..", "/tmp", "one"])
def test_a_member_outside_the_folder_is_refused(ensemble, place):
    _forge(ensemble, lambda d: d["model"]["members"][0].update(bundle=place))
    with pytest.raises(BundleError, match="expected members/"):
        read_bundle(ensemble)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "members/../../x"])
def test_a_manifest_that_leads_out_of_the_folder_is_refused(ensemble, name):
    digests = json.loads((ensemble / "manifest.json").read_text())["sha256"]
    (ensemble / "manifest.json").write_text(json.dumps({"sha256": {**digests, name: "0"}}))
    with pytest.raises(BundleError, match="not a manifest"):
        read_bundle(ensemble)


def test_a_forged_list_of_members_is_refused(ensemble):
    _forge(ensemble, lambda d: d["model"].update(members=[{"bundle": "members/one"}]))
    with pytest.raises(BundleError, match="members cannot be read"):
        read_bundle(ensemble)
    _forge(ensemble, lambda d: d["model"].update(members=[]))
    with pytest.raises(BundleError, match="weights are none for 0 members"):
        read_bundle(ensemble)


@pytest.mark.parametrize(
    "weights",
    [[0.5, 0.5], [0.5, 0.3, 0.3], [1.2, -0.1, -0.1], [float("nan"), 0.5, 0.5], []],
    ids=["too few", "above 1", "negative", "nan", "none"],
)
def test_weights_that_are_none_are_refused_and_nothing_is_written(tmp_path, members, weights):
    with pytest.raises(BundleError, match="expected one each, at least 0, with the sum 1"):
        write_ensemble(tmp_path / "e", COMMON, members, weights)
    assert not list(tmp_path.glob("*e*"))


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"symbols": ["BBB", "CCC"]}, "the symbols BBB, CCC, the ensemble AAA"),
        ({"timeframe": "5m"}, "the timeframe 5m, the ensemble 1m"),
        ({"classes": ["down", "up"]}, "the classes down, up, the ensemble down, hold, up"),
        ({"calendar": "24/5"}, "the calendar 24/5, the ensemble 24/7"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_member_of_another_kind_is_refused_with_both_lists(tmp_path, members, other, words):
    stranger = _network(tmp_path / "stranger", **other)
    with pytest.raises(BundleError, match=f"its member stranger has {words}"):
        write_ensemble(tmp_path / "e", COMMON, [members[0], stranger], [0.5, 0.5])
    assert not (tmp_path / "e").exists()


def test_a_forged_description_does_not_make_strangers_fit(ensemble):
    _forge(ensemble, lambda d: d.update(symbols=["BBB"]))
    with pytest.raises(BundleError, match="has the symbols AAA, the ensemble BBB"):
        read_bundle(ensemble)


def _series(**judged):
    return {
        name: {"symbol": name, "timeframe": "1m", "calendar": calendar, "judged": True}
        for name, calendar in judged.items()
    }


def test_a_member_may_know_more_symbols_than_the_ensemble(tmp_path, members):
    both = {"symbols": ["BBB", "AAA"], "series": _series(BBB="24/5", AAA="24/7"), "calendar": None}
    market = _network(tmp_path / "market", **both)
    write_ensemble(tmp_path / "e", COMMON, [members[0], market], [0.5, 0.5])
    assert read_bundle(tmp_path / "e").description["symbols"] == ["AAA"]
    other = both | {"series": _series(AAA="24/5", BBB="24/7")}
    with pytest.raises(BundleError, match="has the calendar 24/5, the ensemble 24/7"):
        write_ensemble(
            tmp_path / "f", COMMON, [members[0], _network(tmp_path / "o", **other)], [0.5, 0.5]
        )
    both["series"]["AAA"]["judged"] = False
    with pytest.raises(BundleError, match="has the symbols BBB, the ensemble AAA"):
        write_ensemble(
            tmp_path / "f", COMMON, [members[0], _network(tmp_path / "n", **both)], [0.5, 0.5]
        )


def test_members_files_are_linked_where_the_disk_can_and_else_copied(
    tmp_path, members, monkeypatch
):
    write_ensemble(tmp_path / "linked", COMMON, members[:1], [1.0])

    def unable(*_):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr("os.link", unable)
    write_ensemble(tmp_path / "copied", COMMON, members[:1], [1.0])
    for name, shared in (("linked", True), ("copied", False)):
        folder = tmp_path / name / "members" / "one"
        for file in ("bundle.json", "weights.safetensors", "manifest.json"):
            assert (folder / file).samefile(members[0] / file) is shared
            assert (folder / file).read_bytes() == (members[0] / file).read_bytes()
    # Writing a member again replaces its files and leaves those of the ensembles alone.
    _network(members[0], 9.0)
    for name in ("linked", "copied"):
        assert float(read_bundle(tmp_path / name).members[0][1].weights["w"][0]) == 1.0


def test_a_damaged_member_is_not_copied(tmp_path, members):
    path = members[1] / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(BundleError, match="was changed or cut off"):
        write_ensemble(tmp_path / "e", COMMON, members, [0.5, 0.3, 0.2])
    assert not list(tmp_path.glob("*e*"))


def test_writing_again_replaces_the_whole_ensemble(ensemble, members):
    (ensemble / "members" / "stray.txt").write_text("old")
    write_ensemble(ensemble, COMMON, members[:1], [1.0])
    assert [path.name for path in (ensemble / "members").iterdir()] == ["one"]
    assert not list(ensemble.parent.glob(".*"))


def test_a_description_that_lacks_a_key_is_refused(tmp_path, members):
    with pytest.raises(BundleError, match="lacks label, classes"):
        write_ensemble(tmp_path / "e", {}, members, [0.5, 0.3, 0.2])
    with pytest.raises(BundleError, match="lacks model"):
        write_trees(tmp_path / "t", {}, "text")
