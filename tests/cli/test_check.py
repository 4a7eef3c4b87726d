"""`mfc check` as users and hooks run it, with a target that writes down what it was told."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from mfc import api, emit
from mfc.check import discover, memo
from mfc.cli import main
from mfc.errors import CannotFit

from tests.emit.samples import compile_sample

SPEC = "mfc: 1\nmodel: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\ntargets: [one, two]\n"


class Project:
    """A repository with specs, and the commands run in it."""

    def __init__(self, top: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.top, self.capsys = top, capsys

    def write(self, name: str, text: str) -> None:
        (self.top / name).parent.mkdir(parents=True, exist_ok=True)
        (self.top / name).write_text(text)

    def compile(self, spec: str, *overrides: str, target: str | None = None, out: str | None = None) -> None:
        names = [target] if target else None
        for one in compile_sample(Path(spec), names, overrides, out):
            emit.write(one)

    def check(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            main(["check", *arguments])
        out, err = self.capsys.readouterr()
        return int(str(end.value.code)), out, err

    def verdicts(self, *arguments: str) -> dict[str, str]:
        code, out, _ = self.check("--format", "json", *arguments)
        answer = json.loads(out)
        assert answer["clean"] == (code == 0)
        return {finding["path"]: finding["verdict"] for finding in answer["findings"]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Project:
    top = tmp_path / "project"
    top.mkdir()
    subprocess.run(["git", "init", "-q"], cwd=top, check=True)
    monkeypatch.chdir(top)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(api, "compile", compile_sample)
    made = Project(top, capsys)
    made.write("run.yaml", SPEC)
    made.compile("run.yaml")
    return made


ALL = {f"run/{target}/{name}": "" for target in ("one", "two") for name in ("run.yaml", "launch.sh", ".mfc.json")}


def test_clean(project: Project) -> None:
    assert project.check() == (0, "", "clean: 1 spec checked\n")
    assert project.check("run.yaml") == (0, "", "clean: 1 spec checked\n")
    assert project.verdicts() == {}


def test_nothing_to_check(project: Project) -> None:
    shutil.rmtree("run")
    Path("run.yaml").unlink()
    assert project.check() == (0, "", "clean: 0 specs checked\n")


def test_stale_shows_the_diff_and_the_way_out(project: Project) -> None:
    project.write("run.yaml", SPEC.replace("4x", "2x"))
    code, out, err = project.check()
    assert code == 1
    assert "run/one/run.yaml: stale\n--- run/one/run.yaml (as it is)\n+++ run/one/run.yaml (from the spec)\n" in out
    assert "-gpus: 4\n+gpus: 2\n" in out
    assert "to mend: mfc compile run.yaml\n" in err
    assert project.verdicts() == {"run/one/run.yaml": "stale", "run/two/run.yaml": "stale"}
    project.compile("run.yaml")
    assert project.check()[0] == 0


def test_a_base_counts(project: Project) -> None:
    project.write("base.yaml", "mfc: 1\nhardware: 4x RTX 4090\ntargets: [one]\n")
    project.write("child.yaml", "mfc: 1\nextends: base.yaml\nmodel: Qwen/Qwen2.5-7B-Instruct\n")
    project.compile("child.yaml")
    assert project.check()[0] == 0
    project.write("base.yaml", "mfc: 1\nhardware: 8x RTX 4090\ntargets: [one]\n")
    assert project.verdicts() == {"child/one/run.yaml": "stale"}


def test_a_base_that_is_no_whole_spec_is_no_error(project: Project) -> None:
    project.write("deep.yaml", "hardware: 4x RTX 4090\n")
    project.write("base.yaml", "mfc: 1\nextends: deep.yaml\ntargets: [one]\n")
    project.write("child.yaml", "mfc: 1\nextends: base.yaml\nmodel: Qwen/Qwen2.5-7B-Instruct\n")
    project.compile("child.yaml")
    assert project.check()[0] == 0
    assert project.check("base.yaml")[0] == 2  # asked for by name it is


def test_edited(project: Project) -> None:
    project.write("run/one/run.yaml", "mine\n")
    code, out, err = project.check()
    assert code == 1
    assert out.startswith("run/one/run.yaml: edited\n")
    assert "move hand edits into the spec, then: mfc compile run.yaml --force" in err


def test_missing(project: Project) -> None:
    Path("run/one/launch.sh").unlink()
    shutil.rmtree("run/two")
    assert project.verdicts() == {
        "run/one/launch.sh": "missing",
        **{f"run/two/{name}": "missing" for name in ("run.yaml", "launch.sh", ".mfc.json")},
    }


def test_what_git_ignores_need_not_be_there(project: Project) -> None:
    project.write(".gitignore", "run/two\n")
    assert project.check()[0] == 0
    project.write("run/two/run.yaml", "mine\n")
    assert project.verdicts() == {"run/two/run.yaml": "edited"}  # but what is there must be true
    shutil.rmtree("run/two")
    assert project.check()[0] == 0


def test_orphaned_with_its_spec(project: Project) -> None:
    Path("run.yaml").unlink()
    assert project.verdicts() == dict.fromkeys(ALL, "orphaned")
    assert "run.yaml is gone" in project.check()[1]


def test_orphaned_with_its_target(project: Project) -> None:
    project.write("run.yaml", SPEC.replace("[one, two]", "[one]"))
    assert project.verdicts() == {path: "orphaned" for path in ALL if "two" in path}


def test_orphaned_where_it_was_before(project: Project) -> None:
    project.write("run.yaml", SPEC.replace("[one, two]", "{one: {}, two: {out: elsewhere}}"))
    project.compile("run.yaml")
    assert project.verdicts() == {path: "orphaned" for path in ALL if "two" in path}


def test_outputs_asked_for_on_the_command_line_are_checked_as_they_were_made(project: Project) -> None:
    project.compile("run.yaml", "hardware.count=8", target="three", out="made/by hand")
    assert project.check()[0] == 0
    project.write("run.yaml", SPEC.replace("Qwen2.5-7B", "Qwen2.5-14B"))
    project.compile("run.yaml")
    code, out, err = project.check()
    assert code == 1
    assert "-model: Qwen/Qwen2.5-7B-Instruct\n+model: Qwen/Qwen2.5-14B-Instruct\n gpus: 8\n" in out
    assert "mfc compile run.yaml --target three -o 'made/by hand' --set hardware.count=8" in err


def test_overrides_at_the_default_place_are_remembered(project: Project) -> None:
    project.compile("run.yaml", "hardware.count=8")
    assert project.check()[0] == 0


def test_a_spec_without_targets_is_checked_where_it_was_compiled(project: Project) -> None:
    project.write("plain.yaml", "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\n")
    assert project.check()[0] == 0
    code, _, err = project.check("plain.yaml")
    assert code == 2
    assert "plain.yaml: error: it names no targets" in err
    project.compile("plain.yaml", target="one")
    assert project.check() == (0, "", "clean: 2 specs checked\n")
    project.write("plain.yaml", "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 2x RTX 4090\n")
    assert project.verdicts() == {"plain/one/run.yaml": "stale"}


def test_a_named_spec_finds_its_outputs_where_git_ignores_them(project: Project) -> None:
    project.write(".gitignore", "plain/\n")
    project.write("plain.yaml", "model: Qwen/Qwen2.5-7B-Instruct\nhardware: 4x RTX 4090\n")
    project.compile("plain.yaml", target="one")
    assert project.check("plain.yaml")[0] == 0


def test_a_broken_manifest(project: Project) -> None:
    project.write("run/one/.mfc.json", "<<<<<<< HEAD\n")
    assert project.verdicts() == {"run/one/.mfc.json": "edited"}
    project.write("other/.mfc.json", "{}")
    assert project.verdicts() == {"run/one/.mfc.json": "edited", "other/.mfc.json": "edited"}


def test_bad_specs_are_errors_and_the_worst_wins(project: Project) -> None:
    project.write("bad.yaml", SPEC + "colour: blue\n")
    project.write("run/one/run.yaml", "mine\n")
    code, out, err = project.check()
    assert code == 2
    assert "bad.yaml:5:1: error" in err
    assert "run/one/run.yaml: edited" in out
    answer = json.loads(project.check("--format", "json")[1])
    assert [(error["spec"], error["exit_code"]) for error in answer["errors"]] == [("bad.yaml", 2)]


@pytest.mark.parametrize("name", ["gone.yaml", "."])
def test_a_spec_that_cannot_be_read(project: Project, name: str) -> None:
    code, _, err = project.check(name)
    assert code == 2
    assert "error" in err


def test_one_targets_refusal_does_not_hide_the_other(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def refusing(source: Any, targets: Any = None, overrides: Any = (), out: Any = None) -> Any:
        if targets == ["one"]:
            raise CannotFit("run.yaml: error: it does not fit")
        return compile_sample(source, targets, overrides, out)

    monkeypatch.setattr(api, "compile", refusing)
    project.write("run/two/run.yaml", "mine\n")
    code, out, err = project.check()
    assert code == 3
    assert "does not fit" in err
    assert "run/two/run.yaml: edited" in out
    assert "orphaned" not in out


def test_only_what_lies_below_the_current_folder(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    project.write("sub/run.yaml", SPEC)
    project.compile("sub/run.yaml")
    project.write("run/one/run.yaml", "mine\n")
    monkeypatch.chdir("sub")
    assert project.check()[0] == 0
    assert project.check("../run.yaml")[0] == 1


def test_without_git(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.top.parent))
    assert project.check()[0] == 0
    project.write("run.yaml", SPEC.replace("4x", "2x"))
    assert project.check()[0] == 1
    Path("run.yaml").unlink()
    assert project.verdicts() == dict.fromkeys(ALL, "orphaned")


@pytest.fixture
def remembered(project: Project, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """As from an installed mfc; the list grows with each compilation."""
    calls: list[str] = []

    def counting(source: Any, targets: Any = None, overrides: Any = (), out: Any = None) -> Any:
        calls.append(api.load(source).name)
        return compile_sample(source, targets, overrides, out)

    monkeypatch.setattr(api, "compile", counting)
    monkeypatch.setattr(memo, "identity", lambda: "installed")
    monkeypatch.setattr("time.time_ns", lambda: 2**62)
    return calls


def test_the_memo_spares_the_compilation(project: Project, remembered: list[str]) -> None:
    assert project.check()[0] == 0
    assert remembered == ["run.yaml", "run.yaml"]
    assert project.check() == (0, "", "clean: 1 spec checked\n")
    assert project.check("run.yaml")[0] == 0
    assert project.verdicts() == {}
    assert len(remembered) == 2
    assert project.check("--no-cache")[0] == 0
    assert len(remembered) == 4


@pytest.mark.parametrize(
    ("path", "verdict"),
    [("run.yaml", "stale"), ("run/one/run.yaml", "edited"), ("run/two/.mfc.json", "edited"), ("base.yaml", "stale")],
)
def test_the_memo_hides_no_change(project: Project, remembered: list[str], path: str, verdict: str) -> None:
    project.write("base.yaml", "hardware: 4x RTX 4090\n")
    project.write("run.yaml", "extends: base.yaml\n" + SPEC.replace("hardware: 4x RTX 4090\n", ""))
    project.compile("run.yaml")
    assert project.check()[0] == 0
    assert project.check()[0] == 0
    project.write(path, Path(path).read_text().replace("4x", "2x").replace("7B", "14B").replace("{\n", "\n"))
    for _ in range(2):  # drift is never remembered
        assert verdict in project.verdicts().values()


def test_the_memo_knows_of_new_and_lost_outputs(project: Project, remembered: list[str]) -> None:
    assert project.check()[0] == 0
    project.compile("run.yaml", "hardware.count=8", out="second", target="one")
    assert project.check()[0] == 0
    assert len(remembered) == 5
    project.write("second/run.yaml", "mine\n")
    assert project.check()[0] == 1
    shutil.rmtree("second")
    shutil.rmtree("run/two")
    assert project.check()[0] == 1
    Path("run.yaml").unlink()
    assert project.check()[0] == 1


def test_the_memo_knows_bases_that_are_no_whole_specs(project: Project, remembered: list[str]) -> None:
    project.write("deep.yaml", "hardware: 4x RTX 4090\n")
    project.write("base.yaml", "mfc: 1\nextends: deep.yaml\ntargets: [one]\n")
    project.write("child.yaml", "mfc: 1\nextends: base.yaml\nmodel: Qwen/Qwen2.5-7B-Instruct\n")
    project.compile("child.yaml")
    assert project.check()[0] == 0
    assert memo.unchanged(()) == 3
    assert project.check("base.yaml")[0] == 2
    for entry in (project.top.parent / "cache/mfc/check").iterdir():
        if "child.yaml" not in json.loads(entry.read_text())["spec"]:
            entry.unlink()
    assert project.check()[0] == 0
    Path("child.yaml").unlink()
    shutil.rmtree("child")
    assert project.check()[0] == 2  # nothing builds on it any more


def test_a_memo_of_ignored_outputs_is_not_kept(project: Project, remembered: list[str]) -> None:
    project.write(".gitignore", "run/two\n")
    shutil.rmtree("run/two")
    assert project.check()[0] == 0
    project.write(".gitignore", "")
    assert project.check()[0] == 1


def test_compile_check_and_check_agree_where_overrides_were_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    Path("run.yaml").write_text(f"{SPEC.replace('one, two', 'trl')}data: a.jsonl\n")

    def run(*words: str) -> int:
        with pytest.raises(SystemExit) as end:
            main([*words])
        capsys.readouterr()
        return int(str(end.value.code))

    assert run("compile", "run.yaml", "--set", "train.learning_rate=3e-5") == 0
    assert (run("check"), run("compile", "--check"), run("compile", "run.yaml", "--check")) == (0, 0, 0)
    assert run("compile", "run.yaml", "--check", "--set", "train.learning_rate=4e-5") == 1
    Path("run.yaml").write_text(Path("run.yaml").read_text().replace("4x", "2x"))
    assert (run("check"), run("compile", "--check")) == (1, 1)


def test_run_bits_links_and_leftovers_are_said(project: Project, remembered: list[str]) -> None:
    assert project.check()[0] == 0
    assert remembered
    script = Path("run/one/launch.sh")
    script.chmod(0o644)
    assert project.verdicts() == {"run/one/launch.sh": "stale"}
    project.compile("run.yaml")
    assert project.check()[0] == 0
    config = Path("run/one/run.yaml")
    config.rename("elsewhere.txt")
    config.symlink_to("../../elsewhere.txt")
    assert project.verdicts() == {"run/one/run.yaml": "edited"}
    assert "a link, and mfc writes a file there" in project.check()[1]
    config.unlink()
    Path("elsewhere.txt").rename(config)
    assert project.check()[0] == 0
    project.write("run/one/.mfc-abc.tmp", "")
    assert project.verdicts() == {"run/one/.mfc-abc.tmp": "orphaned"}
    assert "delete what is orphaned" in project.check()[2]


def git(*words: str) -> None:
    subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *words], check=True)


def test_outputs_that_a_commit_would_leave_out(project: Project, remembered: list[str]) -> None:
    assert project.check()[0] == 0
    assert remembered
    git("add", "run.yaml", "run/one")
    assert project.check()[0] == 0
    assert project.verdicts("--tracked") == dict.fromkeys(
        sorted(path for path in ALL if "/two/" in path), "uncommitted"
    )
    assert "to mend: git add run/two" in project.check("--tracked")[2]
    git("add", "run")
    assert project.check("--tracked")[0] == 0
    git("rm", "-q", "--cached", "run.yaml")  # a spec that is not committed either
    assert project.check("--tracked")[0] == 0


def test_repositories_within_are_looked_into(project: Project) -> None:
    for name in ("nested", "a/module"):
        Path(name).mkdir(parents=True)
        subprocess.run(["git", "init", "-q"], cwd=name, check=True)
        project.write(f"{name}/inner.yaml", SPEC)
        subprocess.run(["git", "add", "."], cwd=name, check=True)
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qm", "x"], cwd=name, check=True
        )
    project.write(".gitmodules", '[submodule "m"]\n\tpath = a/module\n\turl = ../m\n')
    git("-c", "advice.addEmbeddedRepo=false", "add", ".gitmodules", "a/module")
    found = project.verdicts()
    assert set(found.values()) == {"missing"}
    assert {path.split("/inner/")[0] for path in found} == {"nested", "a/module"}
    assert [path.as_posix() for path in discover.specs()] == ["run.yaml"]  # what compile would write


def test_git_starts_no_program_that_a_repository_names(project: Project) -> None:
    """A repository from a stranger may come with settings of git's."""
    project.write("monitor", "#!/bin/sh\ntouch was-run\n")
    Path("monitor").chmod(0o755)
    git("config", "core.fsmonitor", str(Path("monitor").resolve()))
    project.check()
    project.check("--tracked")
    assert not Path("was-run").exists()
    git("status", "--short")
    assert Path("was-run").exists(), "git itself would have run it"
