"""Define what the index knows of a series: enough to plan a cohort without reading a file again.

Rules:
- Facts hold no pixel and no path outside of the inputs. They are kept as JSON in the index and compare equal after it.
- What identifies a patient stands in `identifiers` alone. It is never written outside of the index: names, tables, records
  and pages are cleaned of it (see `privacy`).
- Images are known by the 63-bit digest of their SOP Instance UID, since a cohort has millions.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, NamedTuple

from ..core.plain_text import escape_controls

Role = Literal["image", "mask", "other"]


class InputFile(NamedTuple):
    """A file of the inputs, or a member of an archive. path: absolute, as text. size: bytes. mtime_ns: of the file on disk."""

    path: str
    size: int
    mtime_ns: int


class MaskFact(NamedTuple):
    """One ROI, segment or label that a series declares. code: SCHEME:VALUE of its type, "" where it has none."""

    number: int
    name: str
    code: str = ""
    colour: tuple[int, int, int] | None = None


class GridFact(NamedTuple):
    """The grid of one volume. shape: (i, j, k). lps: the upper three rows of its affine, row by row, in mm."""

    shape: tuple[int, int, int]
    lps: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class SeriesFacts:
    """What is known of a series or a Mimics bundle.

    key: 16 hexadecimal digits that name it in this cohort: of its kind and UID, and of its folder where it has no UID.
    role: what it is for: "image", "mask" (a SEG, a structure set, a bundle, or planes that hold few values), or "other".
    kind: of `volume.representations`, or "other". folder: deepest folder that holds all its files, relative to the
    input, POSIX. patient: keyed digest of its Patient ID (0010,0020), "" where it has none. identifiers: texts that name the patient.
    files, frames: how many. grids: of its volumes, empty where its planes lie on none. masks: that it declares.
    series_uids, images: Series Instance UIDs and image digests that it refers to as what it was made on.
    problem: "CODE: message" of what refuses it before a pixel is read, "" for nothing.
    """

    key: str
    role: Role
    kind: str
    uid: str
    modality: str
    number: int | None
    description: str
    folder: str
    mask_name: str
    study_uid: str
    frame_of_reference_uid: str
    patient: str
    identifiers: tuple[str, ...] = ()
    files: int = 0
    frames: int = 0
    grids: tuple[GridFact, ...] = ()
    masks: tuple[MaskFact, ...] = ()
    series_uids: tuple[str, ...] = ()
    images: tuple[int, ...] = ()
    problem: str = ""

    @property
    def title(self) -> str:
        """What it is called in messages, as `Series.title`. It may hold an identifier."""
        number = "without number" if self.number is None else str(self.number)
        return f"series {number}" + (f" “{escape_controls(self.description)}”" if self.description else "")


def image_digest(sop_instance_uid: str) -> int:
    """The 63-bit digest that an image is known by in the index."""
    return int.from_bytes(sha256(sop_instance_uid.encode()).digest()[:8], "big") >> 1
