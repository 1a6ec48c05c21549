"""Say what is wanted of the inputs: which series, which masks, on which grid.

Rules:
- A Request is checked when it is made; one name or path counts as a list of one.
- Its record holds no path: folders and files given are told by the hashes of what was read of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core import arguments
from .embedded_masks import Told

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyNames, OneOrManyPaths


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of the inputs. series: UID, number or description. part: number or name of one of several volumes.

    source: folders or files of the images the mask was drawn on. like: a NIfTI file whose grid the mask is to have.
    wanted: names or numbers of ROIs, segments, labels or masks; all when None. told: what an export with a mask in its
    image is; clean: the same export with masks hidden. merge: all masks as one of several labels; order: who lies on top.
    Raises PipelineError BAD_OPTION when made of what is not allowed.
    """

    series: str | None = None
    part: str | None = None
    source: tuple[Path, ...] = ()
    like: Path | None = None
    wanted: tuple[str, ...] | None = None
    told: Told = Told()  # noqa: RUF009  (frozen)
    clean: tuple[Path, ...] = ()
    merge: bool = False
    order: tuple[str, ...] = ()

    if TYPE_CHECKING:  # what it may be made of is wider than what it holds

        def __init__(
            self,
            series: str | None = None,
            part: str | None = None,
            source: OneOrManyPaths = (),
            like: str | Path | None = None,
            wanted: OneOrManyNames | None = None,
            told: Told = ...,
            clean: OneOrManyPaths = (),
            merge: bool = False,
            order: OneOrManyNames = (),
        ) -> None: ...

    def __post_init__(self) -> None:
        for name in ("series", "part"):
            if getattr(self, name) is not None:
                arguments.check_text(f"Request.{name}", getattr(self, name))
        for name in ("source", "clean"):
            object.__setattr__(self, name, arguments.paths(f"Request.{name}", getattr(self, name)))
        if self.like is not None:
            object.__setattr__(self, "like", arguments.path("Request.like", self.like))
        if self.wanted is not None:
            object.__setattr__(self, "wanted", arguments.names("Request.wanted", self.wanted))
            if not self.wanted:
                raise arguments.bad_option("Request.wanted", (), "None for all, or the names of those that are wanted")
        object.__setattr__(self, "order", arguments.names("Request.order", self.order))
        arguments.check_flag("Request.merge", self.merge)
        if not isinstance(self.told, Told):
            raise arguments.bad_option("Request.told", self.told, "a Told")

    def as_json(self) -> dict[str, Any]:
        """What was asked for, for the record."""
        inside = [[n.name, n.value if isinstance(n.value, int) else list(n.value)] for n in self.told.inside]
        return {
            "Series": self.series,
            "Part": self.part,
            "Rois": None if self.wanted is None else list(self.wanted),
            "Inside": inside,
            "Outside": self.told.outside,
            "Kind": self.told.kind,
            "Undecided": self.told.undecided,
            "Merge": self.merge,
            "Order": list(self.order),
        }
