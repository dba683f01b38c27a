"""Members to trained members: the packed trainer, its losses, and the baselines beside it.

The packed trainer needs torch and numpy alone.
"""

from ._baselines import BASELINES, BaselineRows, class_trees
from ._cohort import TrainedMember
from ._direction_head import DirectionHead, fit_direction_head, with_direction_head
from ._forecast_baselines import FORECAST_BASELINES, BaselineForecast, ForecastRows
from ._forecast_losses import forecast_losses
from ._gpt_evaluate import TokenLosses, token_losses
from ._gpt_plan import GptPlan
from ._gpt_ranks import Ranks, find_ranks, launched_first, require_shares
from ._gpt_speed import flops_per_token, measured_flops, peak_flops
from ._gpt_trainer import TrainedGpt, train_gpt
from ._last_hidden import last_hidden
from ._losses import classification_loss
from ._plan import HEADS, LOSSES, SCHEDULES, HeadWeights, Member, TrainingPlan
from ._token_baselines import TOKEN_BASELINES, best_constant
from ._token_table import AssetTokens, TokenTable
from ._token_windows import SAMPLING
from ._trainer import train_pack
from ._watcher import Watcher

__all__ = [
    "BASELINES",
    "FORECAST_BASELINES",
    "HEADS",
    "LOSSES",
    "SAMPLING",
    "SCHEDULES",
    "TOKEN_BASELINES",
    "AssetTokens",
    "BaselineForecast",
    "BaselineRows",
    "DirectionHead",
    "ForecastRows",
    "GptPlan",
    "HeadWeights",
    "Member",
    "Ranks",
    "TokenLosses",
    "TokenTable",
    "TrainedGpt",
    "TrainedMember",
    "TrainingPlan",
    "Watcher",
    "best_constant",
    "class_trees",
    "classification_loss",
    "find_ranks",
    "fit_direction_head",
    "flops_per_token",
    "forecast_losses",
    "last_hidden",
    "launched_first",
    "measured_flops",
    "peak_flops",
    "require_shares",
    "token_losses",
    "train_gpt",
    "train_pack",
    "with_direction_head",
]
