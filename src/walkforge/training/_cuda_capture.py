"""Records work as a CUDA graph, which is launched at once however many kernels it holds."""

from collections import deque
from collections.abc import Callable

import torch

# The host runs ahead of a GPU by at most so many replays, so that progress is what was computed.
_REPLAYS_AHEAD = 2

Capture = Callable[[Callable[[], None]], Callable[[], None]]
"""Takes work, which it does not do, and returns what does it, any number of times."""


class CudaCapture:
    """Records on the present stream, which must not be the default one.

    All its graphs share one pool of memory, as they never run at once.
    """

    def __init__(self) -> None:
        self.pool = torch.cuda.graph_pool_handle()
        self.under_way: deque[torch.cuda.Event] = deque()

    def __call__(self, work: Callable[[], None]) -> Callable[[], None]:
        graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graph, pool=self.pool, stream=torch.cuda.current_stream()):
            work()

        def replay() -> None:
            graph.replay()
            self.under_way.append(torch.cuda.current_stream().record_event())
            if len(self.under_way) > _REPLAYS_AHEAD:
                self.under_way.popleft().synchronize()

        return replay
