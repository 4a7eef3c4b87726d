"""The site: every page in both languages, no link that leads nowhere, nothing asked of other servers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from publish.markdown import LINK
from publish.pages import LANGUAGES, SECTIONS, navigation
from publish.root import ROOT

WRITTEN = sorted(
    path for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("targets/**/*.md")) if path.is_file()
)
SENT = re.compile(r"<(?:script|img|iframe|link)\b[^>]*?\b(?:src|href)=\"?(https?:)?//|@import|url\(\"?https?:")


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_between_documents_lead_somewhere(path: Path) -> None:
    for _, link, _ in LINK.findall(path.read_text(encoding="utf-8")):
        if "://" not in link:
            assert (path.parent / link).exists(), link


def test_a_new_page_is_found_by_the_navigation() -> None:
    places = ["index.md", "new.md", "tour.md", "targets/trl.md"]
    for language in LANGUAGES:
        sections = navigation(places, language)
        assert len(sections) == len(SECTIONS)
        listed = [place for section in sections for pages in section.values() for place in pages]
        assert Counter(listed) == Counter(places)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "publish.site", str(folder)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr  # MkDocs missing is a failure, as a broken link is
    return folder


@pytest.mark.framework  # half a minute
class TestBuilt:
    def test_every_page_is_there_in_both_languages(self, site: Path) -> None:
        english = {path.relative_to(site) for path in site.rglob("*.html")}
        chinese = {path.relative_to("zh") for path in english if path.parts[0] == "zh"}
        assert chinese == {path for path in english if path.parts[0] != "zh"}
        assert len(chinese) > 20

    def test_it_asks_no_other_server(self, site: Path) -> None:
        for path in (*site.rglob("*.html"), *site.rglob("*.css")):
            assert not SENT.search(path.read_text(encoding="utf-8")), path

    def test_the_menu_of_languages_leads_to_the_same_page(self, site: Path) -> None:
        for path in site.rglob("*.html"):
            if path.name != "404.html":
                links = re.findall(r'<a href="?([^" ]+)"? hreflang', path.read_text(encoding="utf-8"))
                assert len(links) == len(LANGUAGES)
                assert all((path.parent / link).exists() for link in links), (path, links)

    def test_both_can_be_searched(self, site: Path) -> None:
        for folder, word in ((site, "memory"), (site / "zh", "显存")):
            found = json.loads((folder / "search" / "search_index.json").read_text(encoding="utf-8"))
            assert any(word in entry["text"] for entry in found["docs"])
