"""Losses of all members at once.

Shapes: M members, B rows, C classes
"""

from torch import Tensor
from torch.nn import functional

# A power below 1 of a doubt of 0 has an infinite slope.
_LEAST_DOUBT = 1e-12


def classification_loss(
    logits_MBC: Tensor,
    labels_MB: Tensor,
    class_weights_MC: Tensor,
    *,
    focal_gamma: float | None,
    label_smoothing: float,
) -> Tensor:
    """Return every row's loss [M, B], in nats.

    Cross-entropy against smoothed targets q, as in `torch.nn.functional.cross_entropy`; with
    `focal_gamma` every class's term is scaled by (1 - p)^gamma (Lin et al. 2017, "Focal loss for
    dense object detection", equation 4). Rows are weighted by the weight of their class.
    """
    classes_MB = labels_MB.long()
    weights_MB = class_weights_MC.gather(1, classes_MB)
    if focal_gamma is None:
        loss_MB = functional.cross_entropy(
            logits_MBC.flatten(0, 1),
            classes_MB.flatten(),
            reduction="none",
            label_smoothing=label_smoothing,
        ).view_as(weights_MB)
        return loss_MB * weights_MB
    log_p = functional.log_softmax(logits_MBC, dim=-1)
    terms = log_p * (1.0 - log_p.exp()).clamp(min=_LEAST_DOUBT) ** focal_gamma
    on_target = terms.gather(2, classes_MB[..., None])[..., 0] * (1.0 - label_smoothing)
    return -(on_target + terms.mean(-1) * label_smoothing) * weights_MB
