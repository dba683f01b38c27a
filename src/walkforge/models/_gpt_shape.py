"""How large a MarketGPT is, and where its numbers lie."""

from dataclasses import dataclass

from walkforge.base import TrainingError, one_of

ACTIVATIONS = ("gelu", "swiglu")
_LARGEST_VOCABULARY = 2**16  # token tables hold uint16
_SIZES = (
    "context", "d_model", "layers", "heads", "d_ff",
    "n_assets", "n_categories", "asset_width", "category_width",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class GptShape:
    """The sizes of a MarketGPT; raises TrainingError or UsageError for what cannot be."""

    vocabulary: int
    context: int
    """The most tokens that it reads at once."""
    d_model: int
    layers: int
    heads: int
    d_ff: int
    """Inner width of a feed-forward part; two thirds of it, in eights, where it is gated."""
    n_assets: int
    n_categories: int
    asset_width: int = 16
    category_width: int = 8
    dropout: float = 0.1
    activation: str = "gelu"
    """`gelu`, or `swiglu`: gated, of about as many numbers."""
    tied: bool = True
    """Whether the head reads the token embedding instead of a table of its own."""
    n_classes: int = 0
    """Classes of the direction head; 0 for none."""

    def __post_init__(self) -> None:
        one_of("activation", self.activation, ACTIVATIONS)
        for name in _SIZES:
            _require(name, getattr(self, name), getattr(self, name) >= 1, "at least 1")
        _require(
            "vocabulary", self.vocabulary, 2 <= self.vocabulary <= _LARGEST_VOCABULARY,
            f"2 to {_LARGEST_VOCABULARY}, as tokens are kept in 16 bits",
        )  # fmt: skip
        _require(
            "d_model", self.d_model, self.d_model % (2 * self.heads) == 0,
            f"a multiple of {2 * self.heads}: {self.heads} heads of equal and even width",
        )  # fmt: skip
        _require("dropout", self.dropout, 0.0 <= self.dropout < 1.0, "0 or more and below 1")
        _require(
            "n_classes", self.n_classes, self.n_classes == 0 or self.n_classes >= 2,
            "0 for no direction head, or at least 2",
        )  # fmt: skip

    @property
    def head_width(self) -> int:
        """Return how wide one attention head is."""
        return self.d_model // self.heads

    @property
    def inner_width(self) -> int:
        """Return how wide a feed-forward part is inside.

        A gate is a third matrix, so the other two shrink to two thirds (Shazeer 2020, "GLU
        variants improve transformer"); a multiple of 8, as 16-bit matrix units want it.
        """
        return self.d_ff if self.activation == "gelu" else -(-2 * self.d_ff // 24) * 8


def gpt_parameters(shape: GptShape) -> dict[str, int]:
    """Return how many trained numbers each part holds; their sum is that of the whole model."""
    width, layers = shape.d_model, shape.layers
    matrices = 3 if shape.activation == "swiglu" else 2
    return {
        "token_embedding": shape.vocabulary * width,
        "positions": 0,  # rotary positions are turned, not learned
        "asset_embedding": (shape.n_assets + width) * shape.asset_width,
        "category_embedding": (shape.n_categories + width) * shape.category_width,
        "attention": layers * 4 * width**2,
        "feed_forward": layers * matrices * width * shape.inner_width,
        "norms": (2 * layers + 1) * width,
        "head": 0 if shape.tied else shape.vocabulary * width,
        "direction_head": shape.n_classes * (width + 1),
    }


def gpt_parameters_text(shape: GptShape) -> str:
    """Return one line for a log: the sum in millions, and every part that is not empty."""
    parts = gpt_parameters(shape)
    named = [f"{name.replace('_', ' ')} {n:,}" for name, n in parts.items() if n]
    tied = ", head tied" if shape.tied else ""
    return f"{sum(parts.values()) / 1e6:.2f} million parameters: {', '.join(named)}{tied}"


def _require(name: str, found: float, holds: bool, expected: str) -> None:
    if not holds:
        raise TrainingError(f"MarketGPT: {name} is {found}; expected {expected}")
