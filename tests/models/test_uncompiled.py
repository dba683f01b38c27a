"""What stays outside compiled graphs, and costs nothing where nothing is compiled."""

import subprocess
import sys

import pytest
import torch

from walkforge.models._uncompiled import uncompiled

_PREDICTS = """
import sys, torch
assert "torch._dynamo" not in sys.modules, "torch loads its compiler itself"
from walkforge.models import Gru, Layout, initial_state
gru = Gru(n_features=3, window_bars=4, n_classes=2, hidden=5, layers=1)
layout = Layout.of(gru)
state = layout.views(layout.flatten([initial_state(gru, 0)]))
gru.forward(state, torch.zeros(1, 2, 4, 3), dropout=None)
print("torch._dynamo" in sys.modules)
"""


def _doubled(x):
    return x.mul(2.0)


class _Layer:
    def forward(self, x, *, more):
        return _doubled(x).sub(more)


def _walk(x):
    return _doubled(x)


def _one_call(inside, layer):
    return lambda x: layer.forward(inside(x.add(1.0)).div(3.0), more=1.0).div(5.0)


def _calls_in_a_loop(inside, layer):
    def loop(x):
        for _ in range(3):
            x = layer.forward(inside(x), more=1.0)
        return x

    return loop


def _operations(function, x):
    """Return which of a tensor's methods stand in the graphs of the compiled function."""
    found = set()

    def backend(graph, inputs):
        found.update(node.target for node in graph.graph.nodes if node.op == "call_method")
        return graph.forward

    torch.compiler.reset()
    compiled = torch.compile(function, backend=backend)
    for one in (x, x, torch.cat([x, x])):  # the second shape is compiled anew
        assert torch.equal(compiled(one), function(one))
    return found


def test_importing_and_asking_models_loads_no_compiler():
    done = subprocess.run(
        [sys.executable, "-c", _PREDICTS], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


@pytest.mark.parametrize("body", [_one_call, _calls_in_a_loop])
def test_an_uncompiled_function_and_what_it_calls_stand_in_no_graph(body, monkeypatch):
    x = torch.arange(4.0)
    assert _operations(body(_walk, _Layer()), x) >= {"mul", "sub"}
    monkeypatch.setattr(_Layer, "forward", uncompiled(_Layer.forward))
    rest = {"add", "div"} if body is _one_call else set()
    assert _operations(body(uncompiled(_walk), _Layer()), x) == rest
