"""Say what is wanted of the inputs: which series, which masks, on which grid; and what is the same for every file of a run.

Rules:
- A Request is checked when it is made; one name or path counts as a list of one.
- Its record holds no path: folders and files given are named by the hashes of what was read of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from ..core import arguments
from ..core.arguments import bad_option, check_choice, check_whole
from ..core.policy import EXPORT_KINDS, UNDECIDED, ExportKind, Undecided
from .looks import Looks

if TYPE_CHECKING:
    from ..core.arguments import OneOrManyNames, OneOrManyPaths
    from ..decode.embedded.labelled import Named


@dataclass(frozen=True, slots=True)
class ExportDescription:
    """What the user knows of an export whose images hold the mask.

    inside: names with the values or colours that are mask. outside: the value that is not. kind: what it is. undecided:
    what becomes of voxels whose image has the mask's own value.
    Raises PipelineError BAD_OPTION when made of what is not allowed.
    """

    inside: tuple[Named, ...] = ()
    outside: int | None = None
    kind: ExportKind | None = None
    undecided: Undecided = UNDECIDED[0]

    def __post_init__(self) -> None:
        if self.inside != ():
            object.__setattr__(self, "inside", _checked_inside(self.inside))
        if self.outside is not None:
            check_whole("ExportDescription.outside", self.outside)
        if self.kind is not None:
            check_choice("ExportDescription.kind", self.kind, EXPORT_KINDS)
        check_choice("ExportDescription.undecided", self.undecided, UNDECIDED)

    @property
    def is_given(self) -> bool:
        """Whether anything was said, so that nothing is to be recognised."""
        return bool(self.inside) or self.outside is not None or self.kind is not None


def _checked_inside(inside: object) -> tuple[Named, ...]:
    from ..decode.embedded.labelled import Named

    several = (inside,) if isinstance(inside, Named) else tuple(inside) if isinstance(inside, Iterable) else (inside,)
    if not all(isinstance(one, Named) for one in several):
        raise bad_option("ExportDescription.inside", inside, "a Named, or a list of them")
    return several


@dataclass(frozen=True, slots=True)
class Request:
    """What is wanted of the inputs. series: UID, number or description. part: number or name of one of several volumes.

    source: folders or files of the images the mask was drawn on. like: a NIfTI file whose grid the mask is to have.
    wanted: names or numbers of ROIs, segments, labels or masks; all when None. export: what an export with a mask in
    its image is; clean: the same export with masks hidden. merge: all masks as one of several labels; order: who lies on top.
    images: the images of masks too, as files of their own, with the masks on their grids.
    Raises PipelineError BAD_OPTION when made of what is not allowed.
    """

    series: str | None = None
    part: str | None = None
    source: tuple[Path, ...] = ()
    like: Path | None = None
    wanted: tuple[str, ...] | None = None
    export: ExportDescription = ExportDescription()
    clean: tuple[Path, ...] = ()
    merge: bool = False
    order: tuple[str, ...] = ()
    images: bool = False

    if TYPE_CHECKING:  # what it may be made of is wider than what it holds

        def __init__(
            self,
            series: str | None = None,
            part: str | None = None,
            source: OneOrManyPaths = (),
            like: str | Path | None = None,
            wanted: OneOrManyNames | None = None,
            export: ExportDescription = ...,
            clean: OneOrManyPaths = (),
            merge: bool = False,
            order: OneOrManyNames = (),
            images: bool = False,
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
        for name in ("merge", "images"):
            arguments.check_flag(f"Request.{name}", getattr(self, name))
        if not isinstance(self.export, ExportDescription):
            raise arguments.bad_option("Request.export", self.export, "an ExportDescription")

    def as_json(self) -> dict[str, Any]:
        """What was asked for, for the record."""
        inside = [[n.name, n.value if isinstance(n.value, int) else list(n.value)] for n in self.export.inside]
        return {
            "Series": self.series,
            "Part": self.part,
            "Rois": None if self.wanted is None else list(self.wanted),
            "Inside": inside,
            "Outside": self.export.outside,
            "Kind": self.export.kind,
            "Undecided": self.export.undecided,
            "Merge": self.merge,
            "Order": list(self.order),
            "Images": self.images,
        }


Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Show no progress.

    Args:
        stage: what is being done.
        done: how much of it is.
        total: of how much; 0 where nobody knows.
    """


Kept = Callable[[Any, Any], None]


def forget(product: Any, outcome: Any) -> None:
    """Keep nothing of what was made but its file.

    Args:
        product: that was written.
        outcome: of writing it.
    """


class RunDetails(NamedTuple):
    """What every file of a run is finished with.

    looks: what the run has looked at so far. like: a NIfTI file whose grid and header it is to have. page: whether the
    caller will write a page beside it, whose place is to be free. request: what was asked for, as recorded. command: what
    the user typed. planned: see `free_target`. kept: called with product and outcome of every file that was written.
    """

    looks: Looks
    like: Path | None = None
    page: bool = False
    request: Mapping[str, Any] = MappingProxyType(Request().as_json())  # of a run in which nothing was asked for
    command: Sequence[str] = ()
    progress: Progress = silent
    planned: Collection[Path] = ()
    kept: Kept = forget
