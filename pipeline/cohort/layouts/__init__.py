"""Name the files of a data set, and write what stands beside them: one module a layout."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from .bids import BidsLayout
from .layout import DatasetLayout, LayoutSettings
from .nnunet import NnunetLayout
from .pairs import PairsLayout

LAYOUTS: Mapping[str, Callable[[LayoutSettings], DatasetLayout]] = {
    "pairs": PairsLayout,
    "nnunet": NnunetLayout,
    "bids": BidsLayout,
}
