"""What attention keeps of tokens already read, so that one more token costs one pass of one token.

Shapes: B rows, H heads, S tokens that are new, P tokens so far, W width of a head
"""

from torch import Tensor

from walkforge.base import TrainingError

from ._gpt_shape import GptShape


class LayerCache:
    """Keys and values of one layer, in room set aside for all tokens to come."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.length = 0
        self._kept: tuple[Tensor, Tensor] | None = None

    def extend(self, key_BHSW: Tensor, value_BHSW: Tensor) -> tuple[Tensor, Tensor]:
        """Keep what is new; return the keys and values of all tokens so far [B, H, P, W]."""
        if self._kept is None:
            rows, heads, _, width = key_BHSW.shape
            shape = (rows, heads, self.capacity, width)
            self._kept = key_BHSW.new_empty(shape), value_BHSW.new_empty(shape)
        keys, values = self._kept
        before, self.length = self.length, self.length + key_BHSW.shape[-2]
        keys[:, :, before : self.length] = key_BHSW
        values[:, :, before : self.length] = value_BHSW
        return keys[:, :, : self.length], values[:, :, : self.length]

    def repeat_rows(self, times: int) -> None:
        if self._kept is not None:
            keys, values = self._kept
            self._kept = keys.repeat_interleave(times, 0), values.repeat_interleave(times, 0)


class KvCache:
    """The caches of all layers; `MarketGpt.hidden` fills it with every token that it reads.

    It holds at most `capacity` tokens of each row, the least of `n_tokens` and the model's
    context, and forgets nothing by itself: dropping the oldest would leave states behind that
    have seen them. At the limit the caller reads the last tokens anew.
    """

    def __init__(self, shape: GptShape, n_tokens: int | None = None) -> None:
        self.capacity = min(n_tokens or shape.context, shape.context)
        self.layers = [LayerCache(self.capacity) for _ in range(shape.layers)]

    @property
    def length(self) -> int:
        """Return how many tokens of each row it holds."""
        return self.layers[-1].length

    @property
    def is_full(self) -> bool:
        """Return whether no further token fits."""
        return self.length == self.capacity

    def require_room(self, n_tokens: int) -> None:
        """Raise TrainingError if so many more tokens do not fit."""
        if self.length + n_tokens > self.capacity:
            raise TrainingError(
                f"the cache holds {self.length} of {self.capacity} tokens and {n_tokens} more were "
                "given; read the last tokens anew, without it or into a new one"
            )

    def repeat_rows(self, times: int) -> None:
        """Make `times` neighbours of every row, as `repeat_interleave` does."""
        for layer in self.layers:
            layer.repeat_rows(times)
