"""Makes a release: `python -m publish.release 0.2.0 [--dry-run]`.

Asks for a clean tree, a changelog whose first section is open, and green checks. Then, in a clone, it sets the version,
closes the section with today's date, commits, tags, and builds the wheel, the sdist and the site. Only when all of it
is there do commit and tag come back into the repository and the files into `dist/`; a dry run leaves both as they were.
Nothing is pushed or uploaded, and no network is used.
"""

from __future__ import annotations

import argparse
import datetime
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from publish.root import ROOT

VERSION = Path("compiler/mfc/_version.py")
CHANGELOG = Path("CHANGELOG.md")
PYTHON = sys.executable
CHECKS: tuple[tuple[str, ...], ...] = (
    (PYTHON, "-m", "ruff", "check"),
    (PYTHON, "-m", "ruff", "format", "--check"),
    (PYTHON, "tests/typecheck.py"),
    (PYTHON, "-m", "pytest", "-m", "not framework"),
    (PYTHON, "-m", "pytest", "tests/publish", "tests/test_packaging.py", "-m", "framework"),
)
OPEN = re.compile(r"^## (\S+) \(unreleased\)\n", re.MULTILINE)
SECTION = re.compile(r"^## ", re.MULTILINE)


class Refused(Exception):
    """Why there is no release, and what to do."""


def numbers(version: str) -> tuple[int, ...]:
    """A version such as 0.2.0 as numbers; `Refused` for any other form."""
    if not re.fullmatch(r"\d+\.\d+\.\d+", version):
        raise Refused(f"{version} is no version: give three numbers, such as 0.2.0")
    return tuple(map(int, version.split(".")))


def closed(changelog: str, version: str, day: datetime.date) -> str:
    """The changelog with its open section closed."""
    found = OPEN.search(changelog)
    if found is None or SECTION.search(changelog, 0, found.start()):
        raise Refused(
            "CHANGELOG.md: its first section is not open; begin one, '## X.Y.Z (unreleased)', with what is new"
        )
    if not SECTION.split(changelog[found.end() :])[0].strip():
        raise Refused(f"CHANGELOG.md: the section {found[1]} says nothing")
    return f"{changelog[: found.start()]}## {version} ({day.isoformat()})\n{changelog[found.end() :]}"


def release(root: Path, version: str, checks: Sequence[Sequence[str]] = CHECKS, *, dry_run: bool = False) -> list[str]:
    """Make a release of the repository at `root`; the names of the files that were built."""
    _ready(root, version)
    for check in checks:
        if subprocess.run(check, cwd=root, check=False).returncode:
            raise Refused(f"not green: {' '.join(check)}")
    with tempfile.TemporaryDirectory() as folder:
        clone, built = Path(folder) / "clone", Path(folder) / "dist"
        _git(root, "clone", "--quiet", "--no-hardlinks", str(root), str(clone))
        _close(root, clone, version)
        _build(clone, built, version)
        names = sorted(path.name for path in built.iterdir())
        if not dry_run:
            _git(root, "pull", "--quiet", "--ff-only", "--tags", str(clone), "HEAD")
            (root / "dist").mkdir(exist_ok=True)
            for name in names:
                shutil.move(built / name, root / "dist" / name)
    return names


def _ready(root: Path, version: str) -> None:
    """Raise `Refused` unless a release of that version may be tried here."""
    (current,) = re.findall(r'"(.*)"', (root / VERSION).read_text(encoding="utf-8"))
    if numbers(version) < numbers(current):
        raise Refused(f"{version} is older than {current}, the version in {VERSION}")
    if _git(root, "tag", "--list", f"v{version}"):
        raise Refused(f"there is a tag v{version} already: give a newer version")
    if changed := _git(root, "status", "--porcelain"):
        raise Refused(f"the tree is not clean: commit or stash first\n{changed}")
    closed((root / CHANGELOG).read_text(encoding="utf-8"), version, datetime.date.today())


def _close(root: Path, clone: Path, version: str) -> None:
    """Set the version and close the changelog in a commit with a tag, by whoever the repository says commits."""
    (clone / VERSION).write_text(f'__version__ = "{version}"\n', encoding="utf-8")
    text = (clone / CHANGELOG).read_text(encoding="utf-8")
    (clone / CHANGELOG).write_text(closed(text, version, datetime.date.today()), encoding="utf-8")
    identity = [f"-c user.{key}={_git(root, 'config', f'user.{key}')}" for key in ("name", "email")]
    who = [word for option in identity for word in option.split(" ", 1)]
    _git(clone, *who, "commit", "--quiet", "--all", "--message", f"Release {version}")
    _git(clone, *who, "tag", "--annotate", f"v{version}", "--message", f"mfc {version}")


def _build(clone: Path, built: Path, version: str) -> None:
    """Wheel, sdist and site from what is tagged; setuptools is taken from here, so that no index is asked."""
    _run(clone, PYTHON, "-m", "build", "--no-isolation", "--outdir", str(built), str(clone))
    site = built.parent / "site"
    _run(clone, PYTHON, "-m", "publish.site", str(site))
    shutil.make_archive(str(built / f"mfc-{version}-site"), "zip", site)


def _git(at: Path, *words: str) -> str:
    return _run(at, "git", *words).strip()


def _run(at: Path, *words: str) -> str:
    done = subprocess.run(words, cwd=at, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise Refused(f"{' '.join(words)} failed:\n{done.stdout.strip()}")
    return done.stdout


def main(arguments: list[str]) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m publish.release", description="Make a release.")
    parser.add_argument("version", help="three numbers: 0.2.0")
    parser.add_argument("--dry-run", action="store_true", help="check and build, and leave the repository as it is")
    options = parser.parse_args(arguments)
    try:
        names = release(ROOT, options.version, dry_run=options.dry_run)
    except Refused as why:
        print(f"no release: {why}", file=sys.stderr)
        return 1
    if options.dry_run:
        print("would be built:", *names, sep="\n  ")
        return 0
    print(f"tagged v{options.version}; in dist/:", *names, sep="\n  ")
    print("nothing was pushed. To publish: git push --follow-tags, and upload the wheel and the sdist")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
