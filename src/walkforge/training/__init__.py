"""Members to trained members: the packed trainer, its losses, and the baselines beside it.

The packed trainer needs torch and numpy alone.
"""

from ._baselines import BASELINES, BaselineRows
from ._losses import classification_loss
from ._plan import LOSSES, SCHEDULES, Member, TrainingPlan
from ._trainer import TrainedMember, train_pack
from ._watcher import Watcher

__all__ = [
    "BASELINES",
    "LOSSES",
    "SCHEDULES",
    "BaselineRows",
    "Member",
    "TrainedMember",
    "TrainingPlan",
    "Watcher",
    "classification_loss",
    "train_pack",
]
