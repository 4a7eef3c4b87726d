"""The Hugging Face config, as plain data, of the model that a spec names."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mfc import files
from mfc.errors import SpecError

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec


def config_of(loaded: LoadedSpec) -> dict[str, Any]:
    """The config that `model.config` names, or the catalogue's row. Raises SpecError when there is neither."""
    given = loaded.spec.model
    if given.config is not None:
        path = loaded.folder("model.config") / given.config
        path = path / "config.json" if os.path.isdir(path) else path
        try:
            found = json.loads(files.read(path))
        except OSError as error:
            raise SpecError(f"{path}: cannot read the model's config: {error.strerror}") from None
        except (ValueError, RecursionError) as error:
            raise SpecError(f"{path}: not a JSON file: {error}") from None
        return stripped(found)
    from mfc.catalog import models

    known = models.find(given.id, local=True).id
    row = next(row for row in models.rows() if known in models.ids(row))
    return stripped(row["config"])


def stripped(config: Mapping[str, Any]) -> dict[str, Any]:
    """Without what the shape of a 16-bit model does not depend on, and what would run code of the model's own."""
    unwanted = ("quantization_config", "auto_map", "architectures", "torch_dtype", "dtype", "transformers_version")
    made = {key: value for key, value in config.items() if key not in unwanted}
    vocab = made.get("vocab_size")
    # Ids beyond the vocabulary are refused by embeddings of a config that names only dimensions.
    if isinstance(vocab, int) and "pad_token_id" not in made:
        made["pad_token_id"] = 0
    return made
