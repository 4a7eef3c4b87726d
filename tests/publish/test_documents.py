"""The commands of the READMEs and of docs/ do what they show, in both languages."""

from __future__ import annotations

import re
from importlib import import_module

import click
import pytest
from mfc.cli import COMMANDS, MODULES

from tests.publish.documents import BLOCK, DOCUMENTS, ROOT, TRANSLATIONS, blocks, rewritten, translated

NAMED = re.compile(r"(?<!`)`(mfc [^`\n]+)`(?!`)")  # a command in a sentence


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", [name for name in DOCUMENTS if any(block.runs for block in blocks(text(name)))])
def test_commands_do_what_the_document_shows(name: str) -> None:
    assert text(name) == rewritten(text(name)), "run: python -m tests.publish.documents"


@pytest.mark.parametrize("name", TRANSLATIONS)
def test_a_translation_shows_what_its_original_shows(name: str) -> None:
    original = text(name.replace(".zh.md", ".md"))
    known = [block.bare for block in blocks(original)]
    assert text(name) == translated(text(name), original), "run: python -m tests.publish.documents"
    shown = [block for block in blocks(text(name)) if block.note or block.kind != "yaml"]
    assert [block for block in shown if block.bare not in known] == []


@pytest.mark.parametrize("name", [*DOCUMENTS, *TRANSLATIONS])
def test_no_command_stands_where_none_is_run(name: str) -> None:
    outside = BLOCK.sub("", text(name))
    assert re.findall(r"^(?: {4}|\t)(?:\$ )?(?:mfc|pip|git|bash|python) .*", outside, re.MULTILINE) == []
    for block in blocks(text(name)):
        assert (
            block.runs or block.kind in ("sh", "console") or not re.search(r"^(\$ )?mfc \w+", block.body, re.MULTILINE)
        )


@pytest.mark.parametrize("name", [*DOCUMENTS, *TRANSLATIONS])
def test_commands_in_sentences_exist(name: str) -> None:
    for said in NAMED.findall(BLOCK.sub("", text(name))):
        command, *words = said.removeprefix("mfc ").replace("[", " ").replace("]", " ").split()
        if not re.fullmatch(r"[a-z]+", command):
            continue  # a placeholder, or an option of mfc itself
        assert command in COMMANDS, said
        known: click.Command = import_module(f"mfc.cli.{MODULES.get(command, command)}").command
        options = {option for parameter in known.params for option in parameter.opts}
        assert {word.partition("=")[0] for word in words if word.startswith("-")} <= {*options, "--help"}, said
