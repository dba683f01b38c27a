"""Random states that depend on names, never on the order in which things happen."""

import hashlib


def derive_seed(seed: int, *names: str | int) -> int:
    """Return a seed in [0, 2**63) that belongs to `names` under the study's `seed`.

    A member's random numbers follow from its own name, so that they are the same whether it
    trains alone or in a pack, first or last.
    """
    text = "\x1f".join([str(seed), *map(str, names)])
    digest = hashlib.sha256(text.encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1
