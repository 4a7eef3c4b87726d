"""The pages of the site in one language: the documents of the repository, with what is built from the code put in."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from mfc import target as registry

from publish import catalogue, commands, howto, language, rules, scoreboard
from publish.markdown import relinked
from publish.root import ROOT

LANGUAGES = {"en": "English", "zh": "中文"}
ENGLISH_ONLY = {"en": "", "zh": "> 本页目前只有英文。\n\n"}
TABLES = re.compile(r"^<!-- made: [^\n]*-->\n(.*?)^<!-- end -->$", re.MULTILINE | re.DOTALL)


def _choosing(language: str) -> str:  # noqa: ARG001 names of fields and values
    """The tables of the English page, which tests keep up to date."""
    found = TABLES.search((ROOT / "docs/choosing.md").read_text(encoding="utf-8"))
    assert found
    return found[1]


# What stands for `<!-- built: NAME -->` in a document: made as the site is built, and so never out of date.
BUILT: Mapping[str, Callable[[str], str]] = {
    "language": language.built,
    "commands": commands.built,
    "rules": rules.built,
    "gpus": catalogue.built_gpus,
    "models": catalogue.built_models,
    "accuracy": scoreboard.built,
    "choosing": _choosing,
}
PLACE_OF_BUILT = re.compile(r"^<!-- built: (\S+) -->$", re.MULTILINE)
# Documents outside docs/, and their places in the site.
OUTSIDE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "SECURITY.md": "security.md",
    "CHANGELOG.md": "changelog.md",
}
OTHER_LANGUAGE = re.compile(r"^\[(?:中文|English)\]\(README\S*\)\n\n", re.MULTILINE)  # the site has a menu
# Sections of the navigation, and their pages in order: a name with a / at its end is a folder, "" what no other has.
SECTIONS: Mapping[str, tuple[str, ...]] = {
    "start": ("index.md", "tutorial.md", "symptoms.md", "choosing.md"),
    "guides": ("data.md", "size.md", "report.md", ""),
    "targets": ("targets/",),
    "reference": ("reference/",),
    "internals": (
        *("memory-model.md", "speed-model.md", "rollout-model.md", "oracle.md", "measuring.md", "peers.md", "tour.md"),
        *("contributing.md", "security.md", "changelog.md"),
    ),
}
TITLES: Mapping[str, Mapping[str, str]] = {
    "en": {name: name.capitalize() for name in SECTIONS},
    "zh": {"start": "入门", "guides": "指南", "targets": "目标框架", "reference": "参考", "internals": "内部原理"},
}


class Page(NamedTuple):
    """One page: its place in the site, its text in Markdown, and the file of the repository that it is from."""

    place: str
    text: str
    source: str


def pages(language: str) -> dict[str, Page]:
    """All pages by place. What has no Chinese text is there in English, and says so."""
    found = [_read(source, place, language) for source, place in _documents()]
    places = {_english(page.source): page.place for page in found}
    texts = {page: _filled(_linked(page, places), language) for page in found}
    for page in found:
        if page.place.startswith("targets/"):
            texts[page] = howto.page(page.place.removeprefix("targets/").removesuffix(".md"), texts[page], language)
    return {page.place: page._replace(text=text) for page, text in texts.items()}


def _documents() -> Iterator[tuple[str, str]]:
    """Source and place of every document, by the name of its English text."""
    yield from OUTSIDE.items()
    for target, source in _readmes().items():
        yield source, f"targets/{target}.md"
    for path in sorted((ROOT / "docs").rglob("*.md")):
        if not path.name.endswith(".zh.md"):
            yield path.relative_to(ROOT).as_posix(), path.relative_to(ROOT / "docs").as_posix()


def _readmes() -> dict[str, str]:
    """The README of each target that lies here."""
    folders = {name: registry.get(name).folder for name in registry.names()}
    return {
        name: f"targets/{folder.name}/README.md" for name, folder in folders.items() if folder.parent.name == "targets"
    }


def _read(source: str, place: str, language: str) -> Page:
    """A document in the language if it is there, else in English."""
    translated = source.removesuffix(".md") + f".{language}.md"
    if (ROOT / translated).is_file():
        return Page(place, (ROOT / translated).read_text(encoding="utf-8"), translated)
    return Page(place, ENGLISH_ONLY[language] + (ROOT / source).read_text(encoding="utf-8"), source)


def _translated(source: str) -> bool:
    return source.endswith(".zh.md")


def _english(source: str) -> str:
    return source.replace(".zh.md", ".md")


def _linked(page: Page, places: Mapping[str, str]) -> str:
    """The text with its links led to places of the site; of a link to what the site has not, its text."""

    def led(match: re.Match[str]) -> str:
        text, link, anchor = match[1], match[2], match[3] or ""
        file = _english(posixpath.normpath(posixpath.join(posixpath.dirname(page.source), link)))
        if file not in places:
            return text
        if _translated(page.source) and not _translated(link) and (ROOT / file.replace(".md", ".zh.md")).is_file():
            # The English page, which lies outside of what MkDocs builds: it takes HTML as it is.
            english = posixpath.relpath(places[file], posixpath.dirname(f"zh/{page.place}")).removesuffix(".md")
            return f'<a href="{english}.html">{text}</a>'
        return f"[{text}]({posixpath.relpath(places[file], posixpath.dirname(page.place) or '.')}{anchor})"

    return relinked(OTHER_LANGUAGE.sub("", page.text), led)


def _filled(text: str, language: str) -> str:
    return PLACE_OF_BUILT.sub(lambda match: BUILT[match[1]](language), text)


def navigation(places: Iterable[str], language: str) -> list[dict[str, list[str]]]:
    """The sections with their pages. Each page is in exactly one."""
    home = {place: _section(place) for place in places}
    sections = []
    for section, listed in SECTIONS.items():
        own = [place for place, (name, _) in home.items() if name == section]
        own.sort(key=lambda place: listed.index(home[place][1]))
        sections.append({TITLES[language][section]: own})
    return sections


def _section(place: str) -> tuple[str, str]:
    """The section of a page, and what stands for it there."""
    for name in (place, f"{posixpath.dirname(place)}/", ""):
        for section, listed in SECTIONS.items():
            if name in listed:
                return section, name
    raise AssertionError("one section takes what no other has")
