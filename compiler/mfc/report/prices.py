"""What GPUs cost, as `hardware.price` says it: one price, or a file that has one for each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mfc import files
from mfc.catalog import gpus
from mfc.errors import SpecError
from mfc.spec import quantities, yaml12
from mfc.spec.marks import Mark, Mistake, Source, refusal

if TYPE_CHECKING:
    from mfc.spec.load import LoadedSpec
    from mfc.spec.quantities import Price

Prices = dict[str, "Price"]  # of one GPU for an hour, by its name in the catalogue


def prices(loaded: LoadedSpec) -> Prices:
    """The prices that a spec says: that of its own GPU, or those of the file; none where it says nothing.

    Raises SpecError for a file that cannot be read, or that holds something else.
    """
    said = loaded.spec.hardware.price
    if isinstance(said, str):
        return _of_file(loaded, said)
    return {gpus.find(loaded.spec.hardware.gpu.name).name: said} if said else {}


def _of_file(loaded: LoadedSpec, name: str) -> Prices:
    path = loaded.folder("hardware.price") / name
    try:
        text = files.read(path).decode()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise loaded.error("hardware.price", f"{path} cannot be read: {why}") from None
    root = yaml12.parse(text, Source(str(path), path, text.splitlines()))
    if root is None or not isinstance(root.value, dict):
        at = Mark(Source(str(path))) if root is None else root.mark
        raise refusal([Mistake(at, "prices are a mapping of GPUs to prices, such as RTX 4090: $0.40/h")])
    found: Prices = {}
    for gpu, node in root.value.items():
        try:
            found[gpus.find(gpu).name] = quantities.price(node.value)
        except SpecError as error:
            raise refusal([Mistake(node.key or node.mark, str(error))]) from None
        except ValueError:
            raise refusal([Mistake(node.mark, f"{gpu}: expected a price for an hour, such as 2.10/h")]) from None
    return found
