"""Counting with a real tokenizer, and templates as transformers renders them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from mfc.data import tokenizer
from mfc.data.samples import Sample
from mfc.data.template import Refusal, Template
from mfc.data.turns import Fault, Turn
from mfc.errors import SpecError
from mfc.spec.load import load

from tests.data import optional

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
CHAT = (Turn("user", "one two"), Turn("assistant", "three"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tokenizer of whole words, marks apart."""
    optional("tokenizers")
    from tokenizers import Tokenizer, models, pre_tokenizers

    made: Any = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    made.enable_truncation(2)
    made.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def count(folder: Path, *samples: Sample) -> list[Any]:
    return tokenizer.Tokenizer(folder / "tokenizer.json").lengths(samples)


def test_the_template_counts(folder: Path) -> None:
    assert count(folder, Sample((CHAT,))) == [[3 + 2 * 5]]
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": CHATML}))
    assert count(folder, Sample((CHAT,)), Sample((CHAT[:1],)), Sample(("a b c",))) == [[9], [5 + 2], [4]]
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": CHATML}]})
    )
    assert count(folder, Sample((CHAT, CHAT[:1]))) == [[9, 7]]
    (folder / "chat_template.jinja").write_text("{{ messages[0]['content'] }}")
    assert count(folder, Sample((CHAT,))) == [[2]]


def test_a_refusal_is_a_fault_of_the_row(folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system here') }}{% endif %}"
        "{{ messages[0]['content'] }}"
    )
    bad = Sample(((Turn("system", "s"), *CHAT),))
    assert count(folder, bad, Sample((CHAT,))) == [Fault("template", "no system here"), [2]]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("{{ bos_token }}{{ messages | length }}", "<s>2"),
        ("{% generation %}{{ messages[1]['content'] }}{% endgeneration %}", "three"),
        ("{{ tools | tojson }}", '[{"name": "长"}]'),
        ("{{ strftime_now('%Y') }}", "2025"),
        ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}{{ m.role }}{% endfor %}", "assistant"),
        ("{{ tools | tojson(indent=1) | length }}", str(len('[\n {\n  "name": "长"\n }\n]'))),
    ],
)
def test_what_templates_use(source: str, text: str) -> None:
    assert Template(source, {"bos_token": "<s>"}).render(CHAT, [{"name": "长"}]) == text


@pytest.mark.parametrize(
    "source",
    [
        "{{ 1 / 0 }}",
        "{{ messages[9].role.upper() }}",
        "{% for a in range(10**9) %}{% endfor %}",
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    ],
)
def test_a_strangers_template_does_no_harm(source: str) -> None:
    with pytest.raises(Refusal):
        Template(source, {}).render(CHAT, None)


def test_a_tokenizer_that_is_none(folder: Path) -> None:
    with pytest.raises(SpecError, match=r"cannot be read"):
        tokenizer.Tokenizer(folder / "none.json")
    for text in ("", "{}", "[", "\ud800".encode("utf-8", "surrogatepass").decode("latin1")):
        (folder / "tokenizer.json").write_text(text, encoding="latin1")
        with pytest.raises(SpecError, match=r"not a tokenizer.json"):
            tokenizer.Tokenizer(folder / "tokenizer.json")


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text("model: org/name\nhardware: T4\n")
    loaded, hub = load(tmp_path / "spec.yaml"), {"HF_HOME": str(tmp_path / "home")}
    assert tokenizer.find(loaded, hub) is None
    snapshot = tmp_path / "home" / "hub" / "models--org--name" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "tokenizer.json").write_text("{}")
    assert tokenizer.find(loaded, hub) == snapshot / "tokenizer.json"
    (tmp_path / "org" / "name").mkdir(parents=True)
    (tmp_path / "org" / "name" / "tokenizer.json").write_text("{}")
    assert tokenizer.find(loaded, hub) == tmp_path / "org" / "name" / "tokenizer.json"
