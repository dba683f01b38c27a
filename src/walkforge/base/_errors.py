"""The one tree of errors: each message names the place, found, expected and the way out."""


class WalkforgeError(Exception):
    """Anything a user can mend; the command line prints it as one line and no traceback."""

    exit_status = 1


class UsageError(WalkforgeError):
    """The words of a call are wrong: an unknown preset, option or name."""

    exit_status = 2


class StudyError(UsageError):
    """A study file or an override holds an unknown key, a wrong type or an impossible value."""


class BarsError(WalkforgeError):
    """Bars are missing, unreadable or break a rule of the market room."""


class FetchError(WalkforgeError):
    """A source of bars cannot be reached, refuses, or answers nonsense."""


class SourceUnreachableError(FetchError):
    """A source that will not answer for now, whatever is asked: nothing more is tried."""


class FeatureError(WalkforgeError):
    """Features cannot be computed, or do not match what was expected."""


class LabelError(WalkforgeError):
    """Outcomes cannot be computed, or hold one class only."""


class FoldError(WalkforgeError):
    """The asked-for folds do not fit into the bars."""


class TrainingError(WalkforgeError):
    """Training cannot start or cannot go on."""


class CalibrationError(WalkforgeError):
    """A calibrator cannot be fitted."""


class EvaluationError(WalkforgeError):
    """A measure cannot be taken."""


class PredictionsError(WalkforgeError):
    """A table of predictions lacks a column or holds an impossible value."""


class IntentionsError(WalkforgeError):
    """A table of intentions lacks a column or holds an impossible value."""


class BundleError(WalkforgeError):
    """A bundle is missing, truncated, tampered with or does not fit the bars."""


class RunError(WalkforgeError):
    """A folder is no run, or its files do not fit together."""
