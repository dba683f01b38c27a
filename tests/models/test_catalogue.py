"""Models by name, with options as study files and bundles have them."""

import json

import pytest

from walkforge.base import TrainingError
from walkforge.models import FORECASTERS, MODELS, Bilstm, CnnLstm, Mlp, build_architecture

SIZES = {"n_features": 6, "window_bars": 8}


def test_a_classifier_takes_lists_for_tuples():
    assert build_architecture("mlp", **SIZES, n_classes=3, widths=[4, 5]) == Mlp(
        **SIZES, n_classes=3, widths=(4, 5)
    )
    options = json.loads(json.dumps({"channels": [4, 5], "kernel_bars": 5, "dropout": 0.1}))
    assert build_architecture("cnn_lstm", **SIZES, n_classes=2, **options) == CnnLstm(
        **SIZES, n_classes=2, channels=(4, 5), kernel_bars=5, dropout=0.1
    )


def test_a_forecaster_is_built_from_the_words_of_a_bundle():
    options = {"encoder": [8, 4], "decoder": "dense", "levels": [0.1, 0.5], "horizon_bars": 3}
    options = json.loads(json.dumps(options))
    found = build_architecture("bilstm", **SIZES, **options)
    assert found == Bilstm(
        **SIZES, encoder=(8, 4), decoder="dense", levels=(0.1, 0.5), horizon_bars=3
    )
    assert hash(found)


@pytest.mark.parametrize("name", sorted(FORECASTERS))
def test_a_forecaster_knows_of_no_classes(name):
    with pytest.raises(TrainingError, match="n_classes"):
        build_architecture(name, **SIZES, n_classes=3)


@pytest.mark.parametrize("name", sorted(MODELS.keys() - FORECASTERS))
def test_a_classifier_needs_its_classes(name):
    with pytest.raises(TrainingError, match="n_classes"):
        build_architecture(name, **SIZES)


@pytest.mark.parametrize("name", MODELS)
def test_an_option_that_a_model_does_not_have_is_refused(name):
    classes = {} if name in FORECASTERS else {"n_classes": 3}
    with pytest.raises(TrainingError, match="colour"):
        build_architecture(name, **SIZES, **classes, colour="red")
