"""Where only a package that the spec says nothing of stands in the way, the error says how to declare it."""

import pytest
from mfc import api
from mfc.errors import SpecError

SPEC = {
    "model": "Qwen/Qwen2.5-7B-Instruct",
    "hardware": "1x H100 SXM",
    "data": {"path": "rows.jsonl", "packing": True},
    "train": {"batch_size": 8},
}
DECLARE = "if flash-attn is installed, say so: targets.ms-swift.packages: {flash-attn: 2.8.3}"


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ([], True),
        (["targets.ms-swift.packages.flash-attn=null"], False),  # the user knows
        (["strategy.attention=sdpa"], False),  # it would not help
        (["hardware.gpu=T4"], False),
    ],
)
def test_the_package_is_named_where_it_would_help(changes: list[str], told: bool) -> None:
    with pytest.raises(SpecError) as refused:
        api.plan(SPEC, "ms-swift", changes)
    assert (DECLARE in str(refused.value)) == told


def test_what_it_says_helps() -> None:
    assert api.plan(SPEC, "ms-swift", ["targets.ms-swift.packages.flash-attn=2.8.3"]).strategy.attention == "flash"
