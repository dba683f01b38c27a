"""A loaded bundle as one ONNX graph: scaling, clipping, network and calibration.

Shapes: B rows, T bars in the window, F features, K outputs of the network
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from walkforge.base import BundleError
from walkforge.features import CLIP, Scaler

from ._export_reading import ClassReading, ForecastReading

OPSET = 18
"""Old enough for runtimes in the field; the exporter writes it without a conversion."""

# Torch's own exporter walks through its own deprecated calls, and tells of a recurrent layer's
# weights that they become constants of the graph, which is what an export is for.
_ITS_OWN_WARNINGS = (
    (FutureWarning, r"`isinstance\(treespec, LeafSpec\)` is deprecated"),
    (FutureWarning, "_check_is_size will be removed"),
    (UserWarning, r"The tensor attributes? self\..*_flat_weights"),
)
_ITS_LOGGER = "torch.onnx._internal.exporter._registration"  # tells that torchvision is missing


class WholeModel(nn.Module):
    """Raw features [B, T, F] to what is read off the network's outputs."""

    center_F: Tensor
    scale_F: Tensor

    def __init__(
        self, network: nn.Module, scaler: Scaler, reading: ClassReading | ForecastReading
    ) -> None:
        super().__init__()
        self.network = network
        self.reading = reading
        # float32 as in the forward pass of a prediction, which rounds them so too.
        self.register_buffer("center_F", torch.as_tensor(scaler.center_, dtype=torch.float32))
        self.register_buffer("scale_F", torch.as_tensor(scaler.scale_, dtype=torch.float32))

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        scaled_BTF = ((features - self.center_F) / self.scale_F).clamp(-CLIP, CLIP)
        outputs_BK = self.network(scaled_BTF)
        # Runtimes differ in what becomes of NaN in a clip or a maximum: some make it a number,
        # and a hole in the data would come out as an opinion.
        lost_B1 = features.isnan().flatten(1).any(dim=1, keepdim=True)
        return self.reading(torch.where(lost_B1, torch.nan, outputs_BK))


def build_graph(model: WholeModel, *, window_bars: int) -> Any:
    """Return the `onnx.ModelProto` of a model: input `features` [rows, window_bars, F].

    It holds its weights, and nothing of the machine that it was made on.
    Raises BundleError where a network cannot be expressed in ONNX.
    """
    # Two rows and not one: the exporter takes an axis of length 1 for a constant.
    example = (torch.zeros(2, window_bars, len(model.center_F)),)
    try:
        with _exporter_kept_quiet():
            program = torch.onnx.export(
                model.eval().requires_grad_(False),
                example,
                dynamo=True,
                input_names=["features"],
                output_names=list(model.reading.outputs),
                dynamic_shapes=({0: torch.export.Dim("rows")},),
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        why = str(error.__cause__ or error).strip().split("\n", 1)[0]
        raise BundleError(f"PyTorch cannot express this network in ONNX ({why})") from error
    assert program is not None  # None only where a file was named
    return _without_traces(program.model_proto)


@contextmanager
def _exporter_kept_quiet() -> Iterator[None]:
    logger = logging.getLogger(_ITS_LOGGER)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            for category, start in _ITS_OWN_WARNINGS:
                warnings.filterwarnings("ignore", start, category)
            yield
    finally:
        logger.setLevel(before)


def _without_traces(proto: Any) -> Any:
    """Take out what the exporter noted of its own way: stack traces with paths, above all."""
    for graph in (proto.graph, *proto.functions):
        for part in (*graph.node, *graph.value_info):
            del part.metadata_props[:]
    for part in (*proto.graph.input, *proto.graph.output, *proto.graph.initializer, proto.graph):
        del part.metadata_props[:]
    del proto.metadata_props[:]
    return proto
