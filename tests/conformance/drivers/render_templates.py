"""Conversations by the chat templates that TRL ships, as transformers renders them: JSON in, JSON out.

Run in an environment that has both. Standard input: {conversations: [messages, ...], tokens: {name: token}}. Output:
{template: {source, texts}}, a text that the template refuses being null.
"""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path

from transformers.utils.chat_template_utils import render_jinja_template

given = json.load(sys.stdin)
spec = find_spec("trl")
assert spec is not None
assert spec.origin
made = {}
for path in sorted((Path(spec.origin).parent / "chat_templates").glob("*.jinja")):
    source, texts = path.read_text(encoding="utf-8"), []
    for messages in given["conversations"]:
        try:
            rendered, _ = render_jinja_template(
                conversations=[messages],
                chat_template=source,
                add_generation_prompt=messages[-1]["role"] == "user",
                **given["tokens"],
            )
            texts.append(rendered[0])
        except Exception:  # whatever a template raises
            texts.append(None)
    made[path.name] = {"source": source, "texts": texts}
json.dump(made, sys.stdout)
