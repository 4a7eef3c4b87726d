"""A release is one command, and all or nothing."""

from __future__ import annotations

import datetime
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import publish.release
from publish.release import Refused, closed, release
from publish.root import ROOT

DAY = datetime.date(2026, 12, 1)
NEWS = "# Changelog\n\n## 0.2.0 (unreleased)\n\n- News.\n\n## 0.1.0 (2026-11-01)\n\n- All of it.\n"
GREEN = [[sys.executable, "-c", ""]]
RED = [[sys.executable, "-c", "raise SystemExit(1)"]]


def git(at: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=at, check=True, capture_output=True, text=True).stdout.strip()


def commit(at: Path) -> None:
    git(at, "init", "--quiet")
    git(at, "config", "user.name", "someone")
    git(at, "config", "user.email", "someone@example.com")
    git(at, "add", "--all", "--force")
    git(at, "commit", "--quiet", "--message", "all")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """As much of a repository as is looked at before anything is built."""
    root = tmp_path / "small"
    (root / "compiler/mfc").mkdir(parents=True)
    (root / "compiler/mfc/_version.py").write_text('__version__ = "0.1.0"\n')
    (root / "CHANGELOG.md").write_text(NEWS)
    commit(root)
    return root


def test_the_open_section_is_closed() -> None:
    assert closed(NEWS, "0.3.0", DAY) == NEWS.replace("0.2.0 (unreleased)", "0.3.0 (2026-12-01)")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (NEWS.replace("(unreleased)", "(2026-11-30)"), "not open"),
        (NEWS.replace("## 0.2.0 (unreleased)\n\n- News.\n\n", "") + "\n## 0.0.9 (unreleased)\n\n- Old.\n", "not open"),
        (NEWS.replace("- News.", ""), "says nothing"),
    ],
)
def test_a_changelog_without_news_is_refused(text: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        closed(text, "0.2.0", DAY)


@pytest.mark.parametrize(
    ("version", "why"), [("0.0.9", "older than 0.1.0"), ("v1", "no version"), ("0.2.0", "already")]
)
def test_a_version_that_cannot_be_is_refused(small: Path, version: str, why: str) -> None:
    git(small, "tag", "v0.2.0")
    with pytest.raises(Refused, match=why):
        release(small, version, GREEN)


def test_what_is_not_committed_or_not_green_is_no_release(small: Path) -> None:
    with pytest.raises(Refused, match="not green"):
        release(small, "0.2.0", RED)
    (small / "new.txt").write_text("new")
    with pytest.raises(Refused, match=r"not clean(.|\n)*new\.txt"):
        release(small, "0.2.0", GREEN)


def test_a_build_that_fails_leaves_the_repository_as_it_was(small: Path) -> None:
    before = git(small, "rev-parse", "HEAD")
    with pytest.raises(Refused, match="build"):
        release(small, "0.2.0", GREEN)
    assert (git(small, "rev-parse", "HEAD"), git(small, "tag"), git(small, "status", "--porcelain")) == (before, "", "")


def test_a_dry_run_leaves_the_repository_as_it_was(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(clone: Path, built: Path, version: str) -> None:
        assert git(clone, "describe", "--exact-match") == f"v{version}"
        built.mkdir()
        (built / "wheel").touch()

    monkeypatch.setattr(publish.release, "_build", build)
    before = git(small, "rev-parse", "HEAD")
    assert release(small, "0.2.0", GREEN, dry_run=True) == ["wheel"]
    assert (git(small, "rev-parse", "HEAD"), git(small, "tag"), (small / "dist").exists()) == (before, "", False)
    assert release(small, "0.2.0", GREEN) == ["wheel"]
    assert git(small, "rev-parse", "v0.2.0~1") == before
    assert (small / "dist/wheel").is_file()


@pytest.mark.framework  # a minute: it builds the site
def test_a_release_has_a_tag_a_wheel_an_sdist_and_the_site(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    for name in git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
        if name and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    changelog = (root / "CHANGELOG.md").read_text(encoding="utf-8")
    if "(unreleased)" not in changelog:
        changelog = changelog.replace("\n## ", "\n## 9.0.0 (unreleased)\n\n- News.\n\n## ", 1)
        (root / "CHANGELOG.md").write_text(changelog, encoding="utf-8")
    commit(root)
    before = git(root, "rev-parse", "HEAD")

    names = release(root, "9.0.0", GREEN)
    assert names == ["mfc-9.0.0-site.zip", "mfc_compiler-9.0.0-py3-none-any.whl", "mfc_compiler-9.0.0.tar.gz"]
    assert git(root, "describe", "--exact-match") == "v9.0.0"
    assert git(root, "rev-parse", "HEAD~1") == before
    assert git(root, "status", "--porcelain") == ""
    assert re.search(
        r"^## 9\.0\.0 \(\d{4}-\d\d-\d\d\)$", (root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE
    )
    with zipfile.ZipFile(root / "dist" / names[0]) as site:
        assert {"index.html", "tutorial.html", "zh/index.html"} <= set(site.namelist())
    with zipfile.ZipFile(root / "dist" / names[1]) as wheel:
        assert b'"9.0.0"' in wheel.read("mfc/_version.py")
    with tarfile.open(root / "dist" / names[2]) as sdist:
        assert "mfc_compiler-9.0.0/targets/trl/train.yaml.j2" in sdist.getnames()
