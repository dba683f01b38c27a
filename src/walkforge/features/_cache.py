"""Tables of features on disk, each under a digest of all that it was computed from.

An entry is an ordinary `.npy` file (float32, one row per bar) with four bytes after it, the
CRC-32 of all before: damage is noticed, and checking takes less time than reading. Whoever
finds no whole entry computes, so the folder may be deleted at any moment.
"""

import io
import os
import platform
import re
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from walkforge import __version__
from walkforge.base import (
    FeatureError,
    UsageError,
    digest_of_arrays,
    digest_of_file,
    digest_of_json,
)
from walkforge.market import Bars

_USUAL_LIMIT_GIB = 4.0
_GIB = 2**30
_CHUNK_BYTES = 2**20  # checked while it still lies in the processor's cache
_CRC_BYTES = 4
_OURS = re.compile(r"-[0-9a-f]{40}\w*\.(npy|part)$")

# Taken when the columns are imported, and not later: their files may change while this runs.
_CODE = digest_of_json(
    [digest_of_file(file) for file in sorted(Path(__file__).parent.glob("*.py"))]
)


@dataclass(frozen=True, slots=True)
class CacheState:
    """Where computed tables are kept, how many there are, and how large all may become."""

    folder: Path
    n_entries: int
    n_bytes: int
    limit_bytes: int


def cache_state() -> CacheState:
    """Return the state of the feature cache; raises UsageError for an impossible limit.

    The folder is `features` in $WALKFORGE_CACHE, else in $XDG_CACHE_HOME/walkforge, else in
    ~/.cache/walkforge; the limit is $WALKFORGE_CACHE_GIB, else 4 GiB. It need not exist.
    """
    folder = cache_folder()
    sizes = [one.st_size for _, one in _entries(folder)]
    return CacheState(folder, len(sizes), sum(sizes), limit_bytes())


def cache_folder() -> Path:
    """Return where entries are kept, whether it exists or not."""
    if own := os.environ.get("WALKFORGE_CACHE"):
        return Path(own).expanduser() / "features"
    try:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:  # an account without a home, as some containers have
        usual = Path(tempfile.gettempdir())
    return usual / "walkforge" / "features"


def limit_bytes() -> int:
    """Return how large all entries together may become; 0 turns the cache off."""
    text = os.environ.get("WALKFORGE_CACHE_GIB") or str(_USUAL_LIMIT_GIB)
    try:
        limit_gib = float(text)
    except ValueError:
        limit_gib = -1.0
    if not 0 <= limit_gib < float("inf"):
        raise UsageError(
            f"WALKFORGE_CACHE_GIB is {text!r}, expected GiB such as 4, or 0 for no cache"
        )
    return int(limit_gib * _GIB)


def entry_name(bars: Bars, set_name: str) -> str:
    """Return the file name of a table: other bars, holes, columns or code give another one."""
    made_of = {
        "bars": bars.digest(),
        "holes": digest_of_arrays(bars.segment),
        "code": [_CODE, __version__, np.__version__, version("TA-Lib"), platform.machine()],
    }
    return f"{set_name}-{digest_of_json(made_of)[:40]}.npy"


def read_entry(path: Path, values: NDArray[np.float32]) -> None:
    """Read a table straight into `values` (n, F), and mark the entry as used.

    Raises FileNotFoundError where there is none, and FeatureError where it is not whole.
    """
    expected = _header(values)
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        header = file.read(len(expected))
        if size != len(expected) + values.nbytes + _CRC_BYTES or header != expected:
            raise FeatureError(f"{path}: not the entry of {values.shape} values that was stored")
        crc = zlib.crc32(header)
        for chunk in _chunks(values):
            if file.readinto(chunk) != len(chunk):
                raise FeatureError(f"{path}: ends too early")
            crc = zlib.crc32(chunk, crc)
        if file.read(_CRC_BYTES) != crc.to_bytes(_CRC_BYTES, "little"):
            raise FeatureError(f"{path}: damaged, its bytes have changed since it was stored")
    with suppress(OSError):  # a cache that may only be read is as good
        os.utime(path)


def write_entry(path: Path, values: NDArray[np.float32]) -> None:
    """Store a table whole or not at all; of several writers the last one stays.

    The folder exists (`make_room`). Raises OSError where it cannot be written or the disk is full.
    """
    # Named at random, because threads of one process may store the same entry. Not synced to
    # the disk, because a torn entry is noticed when it is read.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.stem, suffix=".part")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            header = _header(values)
            crc = zlib.crc32(header)
            file.write(header)
            for chunk in _chunks(values):
                file.write(chunk)
                crc = zlib.crc32(chunk, crc)
            file.write(crc.to_bytes(_CRC_BYTES, "little"))
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def make_room(folder: Path, n_bytes: int) -> None:
    """Delete the entries that were not used for longest until `n_bytes` more fit the limit.

    Raises OSError where the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise PermissionError(f"{folder} is read-only")
    oldest_first = sorted(_entries(folder), key=lambda entry: entry[1].st_mtime_ns)
    free = limit_bytes() - sum(status.st_size for _, status in oldest_first)
    for path, status in oldest_first:
        if free >= n_bytes:
            return
        path.unlink(missing_ok=True)
        free += status.st_size


def _entries(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield every file of the cache with its status, those whose writer was killed included."""
    for path in folder.glob("*"):
        # The folder is the user's choice, and other files in it are none of ours.
        if _OURS.search(path.name):
            with suppress(FileNotFoundError):  # another run has just deleted it
                yield path, path.stat()


def _header(values: NDArray[np.float32]) -> bytes:
    header = io.BytesIO()
    described = np.lib.format.header_data_from_array_1_0(values)
    np.lib.format.write_array_header_1_0(header, described)
    return header.getvalue()


def _chunks(values: NDArray[np.float32]) -> Iterator[memoryview]:
    flat = values.data.cast("B")
    for start in range(0, len(flat), _CHUNK_BYTES):
        yield flat[start : start + _CHUNK_BYTES]
