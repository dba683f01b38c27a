"""Every limit of the gates, in one place; the reasons stand in docs/gates.md."""

LEAST_TIMES = 300
LEAST_BLOCKS = 12
BASELINES = ("majority", "prior", "persistence", "logistic", "lightgbm")
CALIBRATION_ERROR = 0.05
CALIBRATION_ERROR_MOST = 0.10
SURE_SHARE_IGNORED = 0.001
SURE_GAP = 0.05
LEAST_DIRECTION_SHARE = 0.01
MOST_CLASS_SHARE = 0.95
LEAST_FOLDS = 2
LEAST_GOOD_FOLDS_SHARE = 0.60
TRAIN_TEST_GAP = 0.15  # of log C
LEAST_TRADES = 30
SPREADS_95 = 1.960
RANDOM_P = 0.05
DEFLATED_SHARPE = 0.95

# Alarms: beyond these a number is no success but a suspicion.
PERFECT_AUC = 0.85
PERFECT_DIRECTION_AUC = 0.80
PERFECT_BALANCED_ACCURACY = 0.90
PERFECT_ACCURACY = 0.95
PERFECT_ACCURACY_MAJORITY = 0.90
EXTREME_SHARE = 0.50
UNBELIEVABLE_SHARPE = 30.0  # per year
MEMORISED = 0.50  # train loss as a fraction of the test loss
TEST_BETTER = 0.20  # of log C
CONSTANT_MEMBERS = 0.50
ONE_CLASS_SHARE = 0.999

# The original plan's fixed limits.
V8_LOGIT = 10.0
V8_SURE_SHARE = 0.10
V8_CLASS_SHARE = (0.25, 0.40)
V8_CONFIDENCE = (0.60, 0.85)
V8_ACCURACY = 0.68

LIMITS = {name: value for name, value in dict(globals()).items() if name.isupper()}
"""All of them by name: a measurement of the gates holds for these alone."""
