"""AdamW for a MarketGPT."""

from collections.abc import Iterator

from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from ._gpt_plan import GptPlan
from ._gpt_whole import shared_out_as, whole


def make_optimiser(model: nn.Module, plan: GptPlan) -> Optimizer:
    """Return fused AdamW over what is to be learned of the model; only its matrices decay.

    A norm's scale has no reason to be small. A row of an embedding learns only when its token or
    asset comes up, but would decay at every step: rare ones would be forgotten. The tied head is
    the token embedding, so it does not decay either.
    """
    embeddings = set(_embeddings(model))
    learned = [one for one in model.parameters() if one.requires_grad]
    decaying = [one for one in learned if one.ndim >= 2 and one not in embeddings]
    others = [one for one in learned if one.ndim < 2 or one in embeddings]
    groups = [
        {"params": decaying, "weight_decay": plan.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    return AdamW(groups, lr=plan.learning_rate, betas=plan.betas, fused=True)


def moments_of(optimiser: Optimizer) -> dict[str, Tensor]:
    """Return the optimiser's whole state, flat, by `NUMBER.NAME` of its parameters."""
    return {
        f"{number}.{name}": whole(value)
        for number, state in optimiser.state_dict()["state"].items()
        for name, value in state.items()
    }


def restore_moments(optimiser: Optimizer, moments: dict[str, Tensor]) -> None:
    """Take over what `moments_of` returned."""
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in moments.items():
        number, name = key.split(".", 1)
        mine = shared_out_as(parameters[int(number)], value) if value.ndim else value  # no step
        states.setdefault(int(number), {})[name] = mine
    groups = optimiser.state_dict()["param_groups"]
    optimiser.load_state_dict({"state": states, "param_groups": groups})


def _embeddings(model: nn.Module) -> Iterator[Tensor]:
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            yield from module.parameters()
