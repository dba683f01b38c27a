"""Members to trained members: the packed trainer, its losses, and the baselines beside it.

The packed trainer needs torch and numpy alone.
"""

from ._baselines import BASELINES, BaselineRows, class_trees
from ._cohort import TrainedMember
from ._forecast_baselines import FORECAST_BASELINES, BaselineForecast, ForecastRows
from ._forecast_losses import forecast_losses
from ._losses import classification_loss
from ._plan import HEADS, LOSSES, SCHEDULES, HeadWeights, Member, TrainingPlan
from ._trainer import train_pack
from ._watcher import Watcher

__all__ = [
    "BASELINES",
    "FORECAST_BASELINES",
    "HEADS",
    "LOSSES",
    "SCHEDULES",
    "BaselineForecast",
    "BaselineRows",
    "ForecastRows",
    "HeadWeights",
    "Member",
    "TrainedMember",
    "TrainingPlan",
    "Watcher",
    "class_trees",
    "classification_loss",
    "forecast_losses",
    "train_pack",
]
