"""SHA-256 digests of files, arrays and plain data."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_arrays(*arrays: np.ndarray) -> str:
    """Return the SHA-256 over dtype, shape and bytes of the arrays, in order."""
    total = hashlib.sha256()
    for array in arrays:
        total.update(f"{array.dtype}{array.shape}".encode())
        total.update(np.ascontiguousarray(array).data)
    return total.hexdigest()


def digest_of_json(value: Any) -> str:
    """Return the SHA-256 of plain data; the order of keys does not matter."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()
