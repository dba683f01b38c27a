"""Losses of all members at once.

Shapes: M members, B rows, C classes
"""

import torch
from torch import Tensor
from torch.nn import functional


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
    log_p = torch.log_softmax(logits_MBC.float(), dim=-1)
    n_classes = log_p.shape[-1]
    classes_MB = labels_MB.long()
    target = functional.one_hot(classes_MB, n_classes).to(log_p.dtype)
    target = target * (1.0 - label_smoothing) + label_smoothing / n_classes
    terms = target * log_p
    if focal_gamma is not None:
        terms = terms * (1.0 - log_p.exp()).clamp(min=0.0) ** focal_gamma
    return -terms.sum(-1) * class_weights_MC.gather(1, classes_MB)
