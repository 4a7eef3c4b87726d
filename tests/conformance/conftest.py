"""One fixture per framework environment; each is made on first use and shared by the whole session."""

from __future__ import annotations

import pytest

from tests.conformance.environments import Environment, environment


@pytest.fixture(scope="session")
def oracle() -> Environment:
    """transformers, PEFT and torch on the CPU: the classes that parameter counts and shapes are checked against."""
    return environment("oracle")
