"""Virtual environments that hold the real frameworks, made once from pinned lists and kept in the user's cache folder.
One more holds mfc's own libraries at the lowest versions that it allows.

`environment("llamafactory-0.9.5")` reads `requirements/llamafactory-0.9.5.txt`, whose lines are `name==version`, and
gives back a ready environment. A framework that cannot be installed is an error with pip's own words, never a skipped
test. Run this file with the names of lists to prepare them ahead: `python -m tests.conformance.environments oracle`.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements"
PYTHONS = ("3.11", "3.12", "3.13")  # the frameworks ask for 3.11; the pinned lists were resolved with it
LOWEST_PYTHONS = ("3.11",)  # the lowest versions of mfc's own libraries have no wheels for newer ones
BUILT_FROM_SOURCE = ("deepspeed",)  # need torch and setuptools in place before pip looks at them
# Imported at once by its data module, needed for audio only, and without a CPU build for every torch.
STUBS = {"llamafactory": ("torchaudio",)}
# The same for images, and for reports: packages whose every name is an empty class.
STUB_PACKAGES = {
    "axolotl": ("wandb",),
    "xtuner": ("torchvision", "torchvision/transforms", "torchvision/transforms/functional"),
}
# Emptied after installing: they describe compiled operators to torch, and those come only with a build for a GPU.
EMPTIED = {"torchvision": "torchvision/_meta_registrations.py"}
ANY_NAME = """
__version__ = "0.0.0"

def __getattr__(name):
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})
"""
# What holds pip to what CI installs: packages, and what builds of mfc itself take (the second for pip 25.3 and newer).
CONSTRAINTS = str(Path(__file__).parents[2] / "constraints.txt")
CONSTRAINED = {"PIP_CONSTRAINT": CONSTRAINTS, "PIP_BUILD_CONSTRAINT": CONSTRAINTS}
UNSET = {"PYTHONDONTWRITEBYTECODE", "PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"}  # not passed on


class EnvironmentFailed(Exception):
    """A framework could not be installed, or a command in its environment failed. The message ends with the output."""


@dataclass(frozen=True, slots=True)
class Environment:
    """One ready virtual environment."""

    name: str
    folder: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def variables(self, extra: Mapping[str, str] | None = None) -> dict[str, str]:
        """The variables a command sees: CPU only, offline, compiled DeepSpeed ops kept apart per environment."""
        inherited = {k: v for k, v in os.environ.items() if k not in UNSET}
        return {
            **inherited,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
            "CUDA_VISIBLE_DEVICES": "",
            "DS_ACCELERATOR": "cpu",
            "HF_DATASETS_OFFLINE": "1",
            "HF_HOME": str(_cache() / "huggingface"),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "TORCH_EXTENSIONS_DIR": str(_cache() / "torch-extensions" / self.folder.name),
            "TRANSFORMERS_OFFLINE": "1",
            **(extra or {}),
        }

    def run(
        self,
        args: Sequence[str | Path],
        *,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
        cwd: Path | None = None,
        timeout: float = 600,
        check: bool = True,
    ) -> subprocess.CompletedProcess[str]:
        """Run `python …` or any console script of the environment; `timeout` in seconds.

        Raises EnvironmentFailed when it ends with another code than 0, unless `check` is false.
        """
        done = subprocess.run(
            [str(a) for a in args],
            env=self.variables(env),
            input=stdin,
            cwd=cwd,
            timeout=timeout,
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise EnvironmentFailed(
                f"{' '.join(map(str, args))} in {self.name}: exit code {done.returncode}\n{_tail(done)}"
            )
        return done


@functools.cache
def environment(name: str) -> Environment:
    """The environment of `requirements/<name>.txt`, made now if it is not there yet (minutes; seconds afterwards).

    Safe when several processes ask at once: one makes it, the others wait. A half-made one, left by a process
    that was killed, is thrown away. Raises EnvironmentFailed with pip's output.
    """
    text = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8")
    base = _base_python(LOWEST_PYTHONS if name == "lowest" else PYTHONS)
    changed = [STUBS, STUB_PACKAGES.get(_framework(name), ""), EMPTIED if "torchvision==" in text else ""]
    recipe = f"{text}\n{_version_of(base)}\n{''.join(map(str, changed))}"
    folder = _cache() / "venvs" / f"{name}-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    ready = folder / "mfc-ready"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _locked(folder.parent / f"{folder.name}.lock"):
        if not ready.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _make(base, folder, text, name)
            ready.touch()
    return Environment(name, folder)


def pinned(name: str) -> dict[str, str]:
    """Package versions of one list, by package name."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text(encoding="utf-8").split()
    return dict(line.split("==", 1) for line in lines)


def _make(base: Path, folder: Path, requirements: str, name: str) -> None:
    _command([base, "-m", "venv", folder], name)
    listed = requirements.split()
    late = [r for r in listed if r.startswith(BUILT_FROM_SOURCE)]
    torch = [r for r in listed if r.startswith("torch==")]
    constraints = folder / "constraints.txt"
    constraints.write_text(requirements, encoding="utf-8")
    pip: list[str | Path] = [
        folder / "bin" / "python",
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--no-compile",
    ]
    if torch:  # with what it needs: outside a CPU build these are its CUDA libraries
        _command([*pip, *torch, "--constraint", constraints], name)
    _command([*pip, "--no-deps", *[r for r in listed if r not in late and r not in torch]], name)
    if late:
        _command([*pip, "--no-deps", "--no-build-isolation", *late], name)
    site = next((folder / "lib").glob("python*")) / "site-packages"
    for package, module in EMPTIED.items():
        if any(r.startswith(f"{package}==") for r in listed):
            (site / module).write_text("", encoding="utf-8")
    for package in STUB_PACKAGES.get(_framework(name), ()):
        (site / package).mkdir()
        text = f'"""Stands in for {package}, which no test uses."""\n{ANY_NAME}'
        (site / package / "__init__.py").write_text(text, encoding="utf-8")
    for module in STUBS.get(_framework(name), ()):
        (site / f"{module}.py").write_text(
            f'"""Stands in for {module}, which no test uses."""\n\n__version__ = "0.0.0"\n', encoding="utf-8"
        )


def _framework(name: str) -> str:
    return name.split("-", maxsplit=1)[0]


def _command(args: Sequence[str | Path], name: str) -> None:
    env = {k: v for k, v in os.environ.items() if k not in UNSET} | {"DS_BUILD_OPS": "0"}
    done = subprocess.run([str(a) for a in args], env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        raise EnvironmentFailed(f"{name} cannot be installed: {' '.join(map(str, args))}\n{_tail(done)}")


def _base_python(pythons: Sequence[str]) -> Path:
    """This interpreter where the packages run on it, otherwise the first suitable one on PATH."""
    if f"{sys.version_info.major}.{sys.version_info.minor}" in pythons:
        return Path(sys.executable)
    found = next((p for p in map(shutil.which, (f"python{v}" for v in pythons)) if p), None)
    if found is None:
        raise EnvironmentFailed(f"the packages need one of Python {', '.join(pythons)}; none is on PATH")
    return Path(found)


@functools.cache
def _version_of(python: Path) -> str:
    ask = "import sys; print(sys.version_info[:3])"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mfc"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w", encoding="utf-8") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _tail(done: subprocess.CompletedProcess[str], lines: int = 60) -> str:
    return "\n".join(f"{done.stdout}\n{done.stderr}".strip().splitlines()[-lines:])


if __name__ == "__main__":
    for wanted in sys.argv[1:] or sorted(p.stem for p in REQUIREMENTS.glob("*.txt")):
        print(wanted, environment(wanted).folder)
