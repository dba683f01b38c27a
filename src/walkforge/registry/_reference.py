"""What a bundle carries to be compared with later: its reference, and until when it is good.

`reference.json` lies beside `bundle.json` under the manifest. Prediction reads none of it.

series       by name: `inputs` (per feature what its training rows were like), `labels` of the
             training rows, `answers` of the test rows (predicted class, confidence)
calibration  how the probabilities fit the outcomes of the calibration slice, which taught them
test         the same of the test slice, which the verdict judged
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from walkforge.base import BundleError, json_text, parse_utc_ms, read_json, utc_text, write_text

REFERENCE = "reference.json"
_KEYS = ("series", "calibration", "test")
_DAY_MS = 86_400_000


def write_reference(folder: Path, reference: Mapping[str, Any] | None) -> None:
    """Write a reference into the folder of a bundle; None writes nothing.

    Raises BundleError where a key is missing.
    """
    if reference is None:
        return
    if missing := [key for key in _KEYS if key not in reference]:
        raise BundleError(f"{folder}: the reference lacks {', '.join(missing)}")
    write_text(folder / REFERENCE, json_text(reference) + "\n")


def read_reference(folder: Path, files: list[str]) -> dict[str, Any] | None:
    """Return the reference of a bundle whose files were verified; None where it carries none.

    Bundles of before there were references carry none. Raises BundleError for a damaged one.
    """
    if REFERENCE not in files:
        return None
    found = read_json(folder / REFERENCE)
    if not isinstance(found, dict) or any(key not in found for key in _KEYS):
        raise BundleError(f"{folder / REFERENCE}: not a reference; take the bundle from its run")
    return found


def expires_ms(description: Mapping[str, Any]) -> int | None:
    """Return the moment, ms UTC, up to which a bundle is good; None where it does not say."""
    text = description.get("expires_at")
    return None if text is None else parse_utc_ms(text)


def expired_words(folder: Path, description: Mapping[str, Any], decided_ms: int) -> str:
    """Return in a line that a bundle had expired at a decision; empty where it had not."""
    end_ms = expires_ms(description)
    if end_ms is None or decided_ms < end_ms:
        return ""
    begin, end = description["tested"]
    days = (parse_utc_ms(end) - parse_utc_ms(begin)) / _DAY_MS
    return (
        f"{folder} expired at {utc_text(end_ms)}: it was tested for {days:.3g} days, up to {end}, "
        "and nothing says how it does later than as long again; train it anew"
    )
