"""A chat template as transformers renders it: jinja2 in its sandbox, with the few functions that templates call.

Source: transformers 5 utils/chat_template_utils.py, _compile_jinja_template and render_jinja_template.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from mfc.data.turns import Turn

_ROLES = {"function": "assistant"}  # what calls a tool is said by the model


class Refusal(Exception):
    """The template does not take this conversation, and why."""


class Template:
    """A compiled template with the special tokens that it may name."""

    def __init__(self, source: str, tokens: Mapping[str, str]) -> None:
        """Raises Refusal for a source that is no template."""
        from jinja2 import TemplateError
        from jinja2.ext import Extension, loopcontrols
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        class Generation(Extension):
            """{% generation %} marks what is learned, and changes nothing of the text."""

            tags = {"generation"}  # noqa: RUF012  the library declares it so

            def parse(self, parser: Any) -> Any:
                next(parser.stream)
                return parser.parse_statements(("name:endgeneration",), drop_needle=True)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, Generation]
        )
        environment.filters["tojson"] = _to_json
        environment.globals.update(raise_exception=_refuse, strftime_now=_now)
        try:
            self._compiled = environment.from_string(source)
        except (TemplateError, RecursionError) as error:
            raise Refusal(f"the chat template cannot be read: {error}") from None
        self._tokens = dict(tokens)

    def render(self, turns: Sequence[Turn], tools: Any) -> str:
        """The text of a conversation. Raises Refusal where the template takes it for none."""
        messages = [{"role": _ROLES.get(turn.role, turn.role), "content": turn.text} for turn in turns]
        try:
            return self._compiled.render(
                messages=messages,
                tools=tools if isinstance(tools, list) else None,
                documents=None,
                add_generation_prompt=turns[-1].role in ("user", "tool"),
                **self._tokens,
            )
        except Refusal:
            raise
        except Exception as error:  # whatever a stranger's template does
            raise Refusal(f"the chat template fails: {type(error).__name__}: {error}"[:300]) from None


def _refuse(message: object) -> None:
    raise Refusal(str(message)[:300])


def _now(form: str) -> str:
    """A date of the usual width: the same on every day, so that counts are."""
    import datetime

    return datetime.datetime(2025, 1, 1, tzinfo=datetime.timezone.utc).strftime(form)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
