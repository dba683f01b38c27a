"""Which addresses are meant for which source."""

import pytest

from walkforge.base import UsageError
from walkforge.sources import url_key


def test_a_key_is_meant_for_the_sources_that_know_it():
    assert url_key("api", "yahoo") == url_key("yahoo.api", "yahoo") == "api"
    assert url_key("binance-archive.listing", "binance-archive") == "listing"
    assert url_key("files", "yahoo") is url_key("ccxt.api", "yahoo") is None
    assert url_key("api", "sample") is None


def test_a_key_that_no_source_knows_is_refused_with_the_nearest():
    for name in ("fils", "ccxt.files", "sample.api", "", ".api"):
        with pytest.raises(UsageError, match=r"unknown key in WALKFORGE_URLS.*; choose one of api"):
            url_key(name, "yahoo")
    with pytest.raises(UsageError, match=r"'yaho.api' \(did you mean 'yahoo.api'\?\)"):
        url_key("yaho.api", "yahoo")
