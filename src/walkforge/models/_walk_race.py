"""Lets the resident and the batched walk of a layer run one after the other, and times both.

Shapes: T steps, B rows, H hidden, L lanes (one member and direction each)
"""

import statistics
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ._resident import RESIDENT, Walks, on_device

_REPETITIONS = 7
# A choice within the noise of a clock would come out the other way in the next process.
_CLEARLY = 0.9


def faster_walk(
    kind: str,
    *,
    lanes: int,
    steps: int,
    rows: int,
    hidden: int,
    dtype: torch.dtype,
    device: torch.device,
    batched: Walks,
) -> tuple[bool, str]:
    """Return whether the resident walks beat `batched` (walk, walk back) there and back, and why.

    Both run as CUDA graphs, as in training, on random numbers of this shape; medians. Whatever goes
    wrong, a kernel that does not compile for this device say, counts as not faster. Compiles the
    kernels, and must not be called while a graph is captured.
    """
    assert device.type != "cuda" or not torch.cuda.is_current_stream_capturing()
    shape = f"{lanes} lanes x {steps} steps x {rows} rows x {hidden}"
    sizes = {"lanes": lanes, "steps": steps, "rows": rows, "hidden": hidden}
    try:
        with on_device(device):
            data = random_walk(kind, **sizes, dtype=dtype, device=device)
            resident_ms = _median_ms(lambda: there_and_back(kind, RESIDENT[kind], data))
            batched_ms = _median_ms(lambda: there_and_back(kind, batched, data))
    # Triton's errors of compiling share no base with torch's; the batched walk serves in any case.
    except Exception as error:
        first = next(iter(str(error).splitlines()), "")
        return False, f"no resident {kind.upper()} kernel: {type(error).__name__}: {first}"
    if resident_ms < _CLEARLY * batched_ms:
        times = f"{resident_ms:.2g} ms against {batched_ms:.2g} ms batched"
        return True, f"resident {kind.upper()} kernel for {shape}: {times}"
    times = f"{batched_ms:.2g} ms against {resident_ms:.2g} ms resident"
    return False, f"batched {kind.upper()} walk for {shape}: {times}"


def random_walk(
    kind: str,
    *,
    lanes: int,
    steps: int,
    rows: int,
    hidden: int,
    dtype: torch.dtype,
    device: torch.device,
) -> list[Tensor]:
    """Return random arguments of a walk of this kind, and d_states_LTBH as the last."""
    # Of its own: drawing from the device's generator would change the training that follows.
    generator = torch.Generator(device).manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=device).mul_(0.1).to(dtype)

    walked = (lanes, steps, rows)
    if kind == "lstm":
        arguments = [draw(*walked, 4 * hidden), draw(lanes, hidden, 4 * hidden)]
    else:
        inputs = [draw(*walked, 2 * hidden), draw(*walked, hidden)]
        weights = [draw(lanes, hidden, 2 * hidden), draw(lanes, hidden, hidden)]
        arguments = [*inputs, *weights, draw(lanes, 1, hidden)]
    return [*arguments, draw(*walked, hidden)]


def there_and_back(kind: str, walks: Walks, data: Sequence[Tensor]) -> None:
    """Walk forwards and backwards over what `random_walk` returned."""
    walk, walk_back = walks
    if kind == "lstm":
        gates, hidden, d_states = data
        _, cells = walk(gates, hidden)
        walk_back(gates, cells, hidden, d_states, None)
        return
    gates, news, hidden_gates, hidden_new, bias, d_states = data
    states, recalled = walk(gates, news, hidden_gates, hidden_new, bias)
    walk_back(gates, news, recalled, states, hidden_gates, hidden_new, d_states, None)


def _median_ms(run: Callable[[], None]) -> float:
    """Return the median time of `run`, replayed as a CUDA graph, in milliseconds."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        run()  # compiles, and fills the caches of libraries, which a capture may not
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    times_ms = []
    for _ in range(_REPETITIONS):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        graph.replay()
        end.record()
        end.synchronize()
        times_ms.append(start.elapsed_time(end))
    return statistics.median(times_ms[1:])
