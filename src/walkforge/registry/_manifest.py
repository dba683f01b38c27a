"""The manifest of a bundle: the SHA-256 of every file in it, and how a folder appears at once."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from walkforge.base import BundleError, RunError, digest_of_file, read_json, write_json

MANIFEST = "manifest.json"


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder; give it a manifest and move it to `folder` on success.

    An older one in the same place is replaced; on failure it stays, and nothing else is left.
    """
    part = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        files = sorted(path for path in part.rglob("*") if path.is_file())
        digests = {path.relative_to(part).as_posix(): digest_of_file(path) for path in files}
        write_json(part / MANIFEST, {"sha256": digests})
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def verified_files(folder: Path) -> list[str]:
    """Return the names of the files in a bundle's manifest, relative to its folder.

    Raises BundleError where there is no manifest, where it is damaged, and where a file is missing
    or its SHA-256 is another one.
    """
    if not (folder / MANIFEST).is_file():
        raise BundleError(
            f"{folder}: no bundle here ({MANIFEST} is missing). "
            "Bundles of a run lie in RUN/models/."
        )
    digests = _digests(folder)
    for name, expected in digests.items():
        path = folder / name
        if not path.is_file():
            raise BundleError(f"{path}: missing, though the manifest names it")
        found = digest_of_file(path)
        if found != expected:
            raise BundleError(
                f"{path}: its SHA-256 is {found[:12]}..., the manifest says {expected[:12]}...; "
                "the bundle was changed or cut off. Take it again from its run."
            )
    return list(digests)


def named_files(folder: Path) -> list[str]:
    """Return the same names without reading the files."""
    return list(_digests(folder))


def refuse_missing(folder: Path, known: list[str], *needed: str) -> None:
    """Raise BundleError where a manifest does not name what its bundle is made of."""
    for name in needed:
        if name not in known:
            raise BundleError(f"{folder / MANIFEST}: not a manifest (it does not name {name})")


def _digests(folder: Path) -> dict[str, str]:
    try:
        digests = dict(read_json(folder / MANIFEST)["sha256"])
    except (RunError, KeyError, TypeError, ValueError) as error:
        raise BundleError(f"{folder / MANIFEST}: not a manifest ({error})") from None
    for name, digest in digests.items():
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not isinstance(digest, str):
            raise BundleError(f"{folder / MANIFEST}: not a manifest (entry {name!r})")
    return digests
