"""Builds the site: `python -m publish.site [FOLDER]`.

English lies in FOLDER, Chinese in FOLDER/zh. Both are built by MkDocs with `--strict`: a broken link is an error. The
site asks no other server for anything; to look at it: `python -m http.server -d site`.
"""

from __future__ import annotations

import argparse
import posixpath
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from publish.pages import LANGUAGES, navigation, pages
from publish.root import ROOT

CONFIG = Path(__file__).parent / "mkdocs.yml"
HOME = {"en": "", "zh": "zh"}  # folder of each language


def build(out: Path) -> None:
    """Both languages. English first, for MkDocs empties the folder that it writes to."""
    with tempfile.TemporaryDirectory() as folder:
        for language, home in HOME.items():
            _build(language, Path(folder) / language, out / home)


def _build(language: str, sources: Path, out: Path) -> None:
    from mkdocs.commands import build as mkdocs
    from mkdocs.config import load_config

    found = pages(language)
    for page in found.values():
        path = sources / page.place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.text, encoding="utf-8")
    shutil.copy(CONFIG.with_name("site.css"), sources)
    config = load_config(
        str(CONFIG), docs_dir=str(sources), site_dir=str(out), nav=navigation(found, language), strict=True
    )
    config.theme["language"] = language
    config.extra["language"] = language
    mkdocs.build(config)


def on_page_context(context: dict[str, Any], config: Any, **_: Any) -> dict[str, Any]:
    """A hook of MkDocs: a menu of languages, whose links are filled in by `on_post_page`."""
    config.extra["alternate"] = [
        {"name": name, "lang": language, "link": f"in:{language}"} for language, name in LANGUAGES.items()
    ]
    return context


def on_post_page(output: str, page: Any, config: Any) -> str:
    """A hook of MkDocs: each language of the menu leads to this page. MkDocs itself makes no link out of its folder."""
    here = posixpath.dirname(posixpath.join("/", HOME[config.extra["language"]], page.url))
    for language, home in HOME.items():
        output = output.replace(f"in:{language}", posixpath.relpath(posixpath.join("/", home, page.url), here))
    return output


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m publish.site", description="Build the site in both languages.")
    parser.add_argument("folder", nargs="?", type=Path, default=ROOT / "site")
    build(parser.parse_args(arguments).folder.resolve())
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
