"""The documentation names what is there, and nothing else."""

import re
from pathlib import Path

import pytest

from command import call
from walkforge import study

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EVERYTHING = "\n".join(page.read_text() for page in PAGES)
COMMANDS = ["run", "resume", "fine-tune", "tune", "presets", "judge", "backtest", "report",
            "compare", "predict", "export", "ensemble", "doctor", "trials", "audit",
            "data fetch", "data import", "data list", "data info", "data check", "data repair",
            "data export", "data instruments", "data universe"]  # fmt: skip


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#:]+?)(?:#[^)]*)?\)|src=\"([^\":]+)\"", page.read_text())
    for link in (first or second for first, second in links):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_stands_in_the_documentation(command):
    assert f"walkforge {command}" in EVERYTHING


def test_every_command_that_the_documentation_shows_is_there():
    lines = re.findall(r"^(?:\.venv/bin/)?walkforge (.+)$", EVERYTHING, flags=re.MULTILINE)
    assert len(lines) >= 10
    for line in lines:
        assert any(line == c or line.startswith(f"{c} ") for c in COMMANDS), line


@pytest.mark.parametrize("name", study.preset_names())
def test_every_preset_stands_in_the_readme(name):
    assert f"`{name}`" in (ROOT / "README.md").read_text()


def test_every_section_of_a_study_stands_in_its_page():
    page = (ROOT / "docs" / "study.md").read_text()
    for section in study.Study.__dataclass_fields__:
        assert f"`{section}`" in page, section


def test_every_room_has_a_page():
    rooms = {path.parent.name for path in (ROOT / "src" / "walkforge").glob("*/__init__.py")}
    for room in rooms:
        assert re.search(rf"\b{room}\b", EVERYTHING), room
    assert call("--help")[0] == 0
