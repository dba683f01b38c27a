"""The page in a real browser: drawn, quiet, nowhere too wide, and asking nobody for anything."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from report.made_comparison import make_comparison
from report.made_run import make_run
from report.made_tokens import make_token_run
from walkforge.report import write_comparison, write_report

pytestmark = pytest.mark.browser

_PHONE = {"width": 390, "height": 844}
_DESKTOP = {"width": 1280, "height": 900}
_BY_CLASS = ["reliability-0", "reliability-1", "reliability-2"]
_PICTURES = ["saving", "reliability", "confidence", *_BY_CLASS, "losses", "timeline", "equity"]

_DRAWN = """
() => [...document.querySelectorAll(".plot")].map((plot) => {
  const svg = plot.querySelector("svg.main-svg");
  const box = svg ? svg.getBoundingClientRect() : { width: 0, height: 0 };
  return {
    name: plot.id,
    width: box.width,
    height: box.height,
    right: box.right,
    traces: plot.querySelectorAll("g.trace, g.errorbars, .js-line").length,
  };
})
"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Return the system's Chromium, or skip and say why."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(f"no Chromium on this machine (looked for {', '.join(names)})")
    with sync_api.sync_playwright() as playwright:
        # Containers run as root, where Chromium's sandbox cannot start.
        chromium = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def browser(chromium: Any) -> Iterator[Any]:
    """Return the browser; pages that a test has opened are closed after it."""
    yield chromium
    for context in chromium.contexts:
        context.close()


class Visit:
    """One look at a page: what it complained of and what it asked for."""

    def __init__(self, browser: Any, report: Path, viewport: dict[str, int], scheme: str) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        self.page = browser.new_page(viewport=viewport, color_scheme=scheme)
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(report.as_uri())
        self.until("[...document.querySelectorAll('.plot')].every((p) => p.querySelector('svg'))")

    def until(self, condition: str) -> None:
        """Wait for a condition. The page's own policy forbids Playwright's way of doing that."""
        self.page.evaluate(
            f"() => new Promise((done) => {{ const look = () => ({condition}) ? done() : "
            "requestAnimationFrame(look); look(); })"
        )

    def width(self) -> int:
        return self.page.evaluate("document.documentElement.scrollWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [_PHONE, _DESKTOP], ids=["phone", "desktop"])
def test_every_picture_is_drawn_and_nothing_complains_or_overflows(
    browser: Any, finished_run: Path, viewport: dict[str, int], scheme: str
) -> None:
    report = finished_run / "report.html"
    visit = Visit(browser, report, viewport, scheme)
    drawn = visit.page.evaluate(_DRAWN)
    assert [picture["name"] for picture in drawn] == [f"plot-{name}" for name in _PICTURES]
    for picture in drawn:
        assert picture["width"] > 200
        assert picture["height"] > 100
        assert picture["traces"] > 0, picture["name"]
        assert picture["right"] <= viewport["width"]
    assert visit.width() <= viewport["width"]
    assert visit.complaints == []
    # The icon is an empty one that stands in the page itself; it is asked of nobody.
    assert [url for url in visit.requests if not url.startswith("data:")] == [report.as_uri()]


@pytest.fixture(scope="module")
def many_series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the page of a run of tokens with hundreds of series."""
    return write_report(make_token_run(tmp_path_factory.mktemp("many") / "market", n_series=300))


@pytest.mark.parametrize("viewport", [_PHONE, _DESKTOP], ids=["phone", "desktop"])
def test_a_run_of_tokens_with_hundreds_of_series_fits_the_screen(
    browser: Any, many_series: Path, viewport: dict[str, int]
) -> None:
    visit = Visit(browser, many_series, viewport, "light")
    drawn = {picture["name"]: picture for picture in visit.page.evaluate(_DRAWN)}
    for name in ("plot-tokens", "plot-token-accuracy"):
        assert drawn[name]["traces"] > 0
        assert drawn[name]["right"] <= viewport["width"]
    visit.page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert visit.width() <= viewport["width"]
    assert visit.complaints == []


def test_a_hostile_name_runs_nothing_and_stays_readable(browser: Any, tmp_path: Path) -> None:
    evil = "<img src=x onerror=alert(1)>"
    folder = make_run(tmp_path / "evil", symbols=(evil, "SAFE"))
    visit = Visit(browser, write_report(folder), _PHONE, "light")
    assert visit.page.locator("img").count() == 0
    assert visit.page.get_by_text(evil, exact=True).count() >= 1
    assert visit.complaints == []
    assert visit.width() <= _PHONE["width"]


def test_long_names_and_many_symbols_do_not_widen_the_page(browser: Any, tmp_path: Path) -> None:
    names = tuple(f"A_VERY_LONG_NAME_OF_A_SYMBOL_NUMBER_{number}" for number in range(12))
    visit = Visit(browser, write_report(make_run(tmp_path / "long", symbols=names)), _PHONE, "dark")
    assert visit.width() <= _PHONE["width"]


def test_pictures_follow_the_reader_from_light_to_dark(browser: Any, finished_run: Path) -> None:
    visit = Visit(browser, finished_run / "report.html", _DESKTOP, "light")
    ink = "getComputedStyle(document.querySelector('#plot-equity .xtick text')).fill"
    light = visit.page.evaluate(ink)
    visit.page.emulate_media(color_scheme="dark")
    visit.until(f"{ink} !== '{light}'")
    assert visit.complaints == []


def test_the_contents_lead_to_every_section(browser: Any, finished_run: Path) -> None:
    page = Visit(browser, finished_run / "report.html", _DESKTOP, "light").page
    for link in page.locator(".contents a").all():
        assert page.locator(link.get_attribute("href")).count() == 1
    assert page.locator("main > section").count() == page.locator(".contents a").count() - 1


def test_the_inside_of_wide_tables_can_be_reached_by_keyboard(
    browser: Any, finished_run: Path
) -> None:
    visit = Visit(browser, finished_run / "report.html", _PHONE, "light")
    name = "Scores of the model and of every baseline"
    visit.page.get_by_role("region", name=name).focus()
    visit.page.keyboard.press("ArrowRight")
    visit.until("document.activeElement.scrollLeft > 0")
    assert visit.page.evaluate("window.scrollX") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [_PHONE, _DESKTOP], ids=["phone", "desktop"])
def test_a_comparison_is_drawn_quietly_and_nowhere_too_wide(
    browser: Any, tmp_path: Path, viewport: dict[str, int], scheme: str
) -> None:
    names = ("base", "<img src=x onerror=alert(1)>", "a_very_long_name_of_a_run_" * 3)
    page = write_comparison(make_comparison(names), tmp_path / "comparison.html")
    visit = Visit(browser, page, viewport, scheme)
    drawn = visit.page.evaluate(_DRAWN)
    assert [picture["name"] for picture in drawn] == ["plot-gains", "plot-equity", "plot-losses"]
    for picture in drawn:
        assert picture["traces"] > 0, picture["name"]
        assert picture["right"] <= viewport["width"]
    assert visit.width() <= viewport["width"]
    assert visit.page.locator("img").count() == 0
    assert visit.complaints == []
    assert [url for url in visit.requests if not url.startswith("data:")] == [page.as_uri()]
