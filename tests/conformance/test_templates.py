"""Chat templates give the text that transformers gives: for all that TRL ships."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mfc.data.template import Refusal, Template
from mfc.data.turns import Turn

from tests.conformance.environments import environment

DRIVER = Path(__file__).parent / "drivers" / "render_templates.py"
CONVERSATIONS = (
    (("user", "Why?"), ("assistant", "Because it is.\n")),
    (
        ("system", "Be brief."),
        ("user", " Why?"),
        ("assistant", "So."),
        ("user", "长?"),
        ("assistant", "<think>\nx\n</think>\n\nNo."),
    ),
    (("user", "Why?"),),
    (("user", "a"), ("user", "b"), ("assistant", "c")),
    (("system", "s"), ("assistant", "b")),
)
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}


@pytest.mark.framework
def test_templates_render_as_in_transformers() -> None:
    asked = [[{"role": role, "content": text} for role, text in turns] for turns in CONVERSATIONS]
    env = environment("deepspeed-0.19.8")
    done = env.run([env.python, DRIVER], stdin=json.dumps({"conversations": asked, "tokens": TOKENS}))
    shipped = json.loads(done.stdout[done.stdout.index("{") :])
    assert len(shipped) > 30
    for name, one in shipped.items():
        template = Template(one["source"], TOKENS)
        for turns, text in zip(CONVERSATIONS, one["texts"], strict=True):
            try:
                ours = template.render([Turn(*turn) for turn in turns], None)
            except Refusal:
                ours = None
            if "strftime_now" in one["source"] and text is not None:  # transformers has today's date there
                assert ours is not None, name
            else:
                assert ours == text, name
