"""Functions that `torch.compile` leaves as they are."""

import sys
from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

_Asked = ParamSpec("_Asked")
_Given = TypeVar("_Given")


def uncompiled(function: Callable[_Asked, _Given]) -> Callable[_Asked, _Given]:
    """Return the function as one that stays outside compiled graphs, with all that it calls.

    As `torch.compiler.disable`, which loads the compiler as soon as it decorates: more than a
    second for every process that imports the models, where hardly one compiles any.
    """
    # PyTorch's own way to put the loading off, until the first call. There is no public one: a
    # wrapper that calls `torch.compiler.disable` late stores what came of it while it is traced.
    outside = getattr(torch, "_disable_dynamo", torch.compiler.disable)(function)

    @wraps(function)
    def alone(*args: _Asked.args, **kwargs: _Asked.kwargs) -> _Given:
        # And further, until something is compiled, which nothing is before the compiler is there.
        # Whether this call is being traced is another question: past its limit of recompilations
        # the compiler runs this very frame plainly, and would then trace what it calls.
        chosen = outside if "torch._dynamo" in sys.modules else function
        return chosen(*args, **kwargs)

    return alone
