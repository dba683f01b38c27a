"""The alarms of the verdict: what the gates suspect of every run."""

from collections.abc import Iterator

from walkforge import evaluation, gates

from ._specimen import Specimen

_RESAMPLES = 100


def alarms_raised(specimen: Specimen) -> Iterator[str]:
    """Yield the sentences of the alarms that a verdict on the predictions and trades raises."""
    results = specimen.results
    classes = evaluation.classes_of(results.predictions)
    train = results.facts["train"]
    verdict = gates.judge(
        metrics=evaluation.metrics(
            results.predictions, None, classes=classes, n_resamples=_RESAMPLES
        ),
        diagnostics=evaluation.diagnostics(
            results.predictions,
            classes=classes,
            train_log_loss=train["log_loss"],
            train_accuracy=train["accuracy"],
            n_resamples=_RESAMPLES,
        ),
        backtest=specimen.traded.summary,
        data_info=None,
    )
    yield from verdict["alarms"]
