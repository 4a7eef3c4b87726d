"""`hub: modelscope` is said to each framework in its own way, or refused with what to do instead."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from mfc import api
from mfc.errors import CannotExpress
from mfc.target import get, names

from tests.targets.cases import over_base


@pytest.mark.parametrize("target", names())
def test_models_come_from_modelscope_or_a_folder(target: str, tmp_path: Path) -> None:
    spec = tmp_path / "run.yaml"
    spec.write_text(yaml.safe_dump(over_base(target, {"hub": "modelscope"})), encoding="utf-8")
    can = get(target).profile(get(target).VERSIONS[0], {}).can("hub")
    if "modelscope" in can:
        (made,) = api.compile(spec, [target])
        spec.write_text(yaml.safe_dump(over_base(target, {})), encoding="utf-8")
        (other,) = api.compile(spec, [target])
        assert made.files != other.files
    else:
        with pytest.raises(CannotExpress, match=r"has no hub modelscope.*download the model first"):
            api.compile(spec, [target])
