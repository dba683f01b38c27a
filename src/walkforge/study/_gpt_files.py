"""What a run of MarketGPT leaves beside the files of every run.

tokens.parquet               loss of the model and its baselines on every test token
tokenizer_report.json        per fold, what is lost when bars become tokens
models/market_foldN_seedN/   all that one model needs, and how its training went
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from torch import Tensor

from walkforge import __version__, models
from walkforge.base import atomic_path, utc_text, write_json
from walkforge.features import write_tokenizer

from ._folder import RunFolder
from ._gpt_learn import GptResults
from ._gpt_said import GptMember
from ._gpt_study import GptStudy
from ._prepare import Prepared


def write_market(
    folder: RunFolder, study: GptStudy, prepared: Prepared, results: GptResults
) -> None:
    """Write the models, the losses of tokens and the tokenizers' reports."""
    for one in results.models:
        place = folder.bundle("market", one.market.fold.index, f"seed{one.seed}")
        _write_member(place, study, prepared, one)
    markets = {one.market.fold.index: one.market for one in results.models}
    reports = [{"fold": index, **market.report} for index, market in markets.items()]
    folder.write_json("tokenizer_report.json", {"folds": reports})
    folder.write_table("tokens.parquet", results.tokens)


def _write_member(place: Path, study: GptStudy, prepared: Prepared, one: GptMember) -> None:
    write_tokenizer(place, one.market.tokenizer)
    write_json(place / "asset_info.json", _assets(prepared, one))
    write_json(place / "calibration.json", _calibration(one))
    write_json(place / "training_log.json", _training_log(one))
    write_json(place / "test_results.json", _test_results(one))
    _write_weights(place / "best_model.safetensors", one.trained.state)
    # Last: where it lies, all the others do.
    write_json(place / "config.json", _config(study, one))


def _config(study: GptStudy, one: GptMember) -> dict[str, Any]:
    fold = one.market.fold
    return {
        "walkforge": __version__,
        "study": study.name,
        "model": study.model.name,
        "shape": asdict(one.shape),
        "parameters": models.gpt_parameters(one.shape),
        "tokenizer": {**asdict(study.tokenizer), "digest": one.market.tokenizer.digest},
        "training": asdict(study.training),
        "sampling": asdict(study.sampling),
        "horizon_bars": study.labels.horizon_bars,
        "fold": fold.index,
        "seed": one.seed,
        "train": [utc_text(moment) for moment in one.market.tokenizer.fitted],
        "test": fold.test.as_text(),
    }


def _assets(prepared: Prepared, one: GptMember) -> dict[str, Any]:
    """Return the number, category and bars of every series, and the numbers of the categories."""
    market, judged = one.market, {learned.part.series for learned in one.parts}
    return {
        "categories": market.categories,
        "assets": [
            {
                "asset": number,
                "series": name,
                "symbol": series.bars.symbol,
                "timeframe": series.bars.timeframe,
                "venue": series.bars.venue,
                "calendar": series.bars.calendar,
                "category": market.category_of[name],
                "judged": name in judged,
                "tokens": int((market.table.run_first[market.rows_of(name)] >= 0).sum()),
            }
            for number, (name, series) in enumerate(prepared.series.items())
        ],
    }


def _calibration(one: GptMember) -> dict[str, Any]:
    """Return per series what makes calibrated classes of sampled paths."""
    return {
        learned.part.series: {
            "limits": learned.part.limits.as_dict(),
            "forecast": learned.reader.classes.as_dict(),
            "calibrator": learned.calibrator.as_dict(),
        }
        for learned in one.parts
    }


def _training_log(one: GptMember) -> dict[str, Any]:
    return {
        "best_epoch": one.trained.best_epoch,
        "best_val_loss": one.trained.best_validation_loss,
        "train_loss_at_best": one.trained.train_loss_at_best,
        "epochs": one.trained.history,
    }


def _test_results(one: GptMember) -> dict[str, Any]:
    return {
        "test_accuracy": float(one.losses.hits_K.mean()),
        "best_constant_accuracy": one.best_constant,
        "test_loss": float(one.losses.losses_K.mean(dtype="float64")),
        "n_tokens": len(one.losses.rows_K),
    }


def _write_weights(path: Path, state: dict[str, Tensor]) -> None:
    from safetensors.torch import save_file

    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, temporary)
