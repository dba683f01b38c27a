"""What a run of MarketGPT leaves beside the files of every run.

tokens.parquet                 loss of the model and its baselines on every test token
tokenizer_report.json          per fold, what is lost when bars become tokens
models/market_foldN_seedN/     a bundle: all that one model needs, and how its training went
models/market_foldN_ensemble/  of several seeds: all of them together
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from walkforge import __version__, models, registry
from walkforge.base import write_json
from walkforge.features import write_tokenizer

from ._describe import describe_ensemble
from ._describe_market import describe_market
from ._folder import RunFolder
from ._gpt_learn import GptResults
from ._gpt_said import GptMember
from ._gpt_study import GptStudy
from ._live_reference import References
from ._prepare import Part, Prepared

MARKET = "market"
"""Stands in a bundle's name where other models have their series."""


def write_market(
    folder: RunFolder, study: GptStudy, prepared: Prepared, results: GptResults
) -> None:
    """Write the models, the losses of tokens and the tokenizers' reports."""
    by_fold: dict[int, list[tuple[Path, dict[str, Any]]]] = {}
    parts: dict[int, list[Part]] = {}
    references = References(prepared, results.calibration_predictions, results.predictions)
    for one in results.models:
        fold = one.market.fold.index
        parts[fold] = [learned.part for learned in one.parts]
        place = folder.bundle(MARKET, fold, f"seed{one.seed}")
        described = describe_market(study, prepared, one)
        told = references.of_member(parts[fold], one.seed)
        _write_member(place, study, prepared, one, described, told)
        by_fold.setdefault(fold, []).append((place, described))
    if len(study.seeds) > 1:
        for fold, members in by_fold.items():
            told = references.of_seeds(parts[fold], study.seeds)
            _write_ensemble(folder.bundle(MARKET, fold, "ensemble"), study, members, told)
    markets = {one.market.fold.index: one.market for one in results.models}
    reports = [{"fold": index, **market.report} for index, market in markets.items()]
    folder.write_json("tokenizer_report.json", {"folds": reports})
    folder.write_table("tokens.parquet", results.tokens)


def _write_member(
    place: Path,
    study: GptStudy,
    prepared: Prepared,
    one: GptMember,
    described: dict[str, Any],
    reference: dict[str, Any],
) -> None:
    def beside(part: Path) -> None:
        write_tokenizer(part, one.market.tokenizer)
        write_json(part / "asset_info.json", _assets(prepared, one))
        write_json(part / "training_log.json", _training_log(one))
        write_json(part / "test_results.json", _test_results(one))
        write_json(part / "config.json", _config(study, one, described))

    state = one.trained.state
    registry.write_market(place, described, state, beside=beside, reference=reference)


def _write_ensemble(
    place: Path,
    study: GptStudy,
    members: list[tuple[Path, dict[str, Any]]],
    reference: dict[str, Any],
) -> None:
    described = describe_ensemble(study.name, [one for _, one in members])
    weights = [1 / len(members)] * len(members)
    folders = [folder for folder, _ in members]
    registry.write_ensemble(place, described, folders, weights, reference=reference)


def _config(study: GptStudy, one: GptMember, described: dict[str, Any]) -> dict[str, Any]:
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
        "train": described["trained"],
        "test": fold.test.as_text(),
    }


def _assets(prepared: Prepared, one: GptMember) -> dict[str, Any]:
    """Return the numbers of the categories, and number, category and bars of every series.

    Of a series that an earlier run taught, and this one has no bars of, the bars are missing.
    """
    market, judged = one.market, {learned.part.series for learned in one.parts}
    return {
        "categories": market.categories,
        "assets": [
            {
                "asset": number,
                "series": name,
                "category": market.category_of[name],
                "judged": name in judged,
                **(_bars_of(name, prepared, one) if name in prepared.series else {}),
            }
            for name, number in market.asset_of.items()
        ],
    }


def _bars_of(name: str, prepared: Prepared, one: GptMember) -> dict[str, Any]:
    bars, rows = prepared.series[name].bars, one.market.rows_of(name)
    keys = ("symbol", "timeframe", "venue", "calendar")
    n_tokens = int((one.market.table.run_first[rows] >= 0).sum())
    return {**{key: getattr(bars, key) for key in keys}, "tokens": n_tokens}


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
