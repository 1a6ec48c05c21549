"""Define the case, the unit of work of a cohort: images on one grid and the masks on them; and what came of it.

Rules:
- A case is all that a process on any machine needs: files with size and time, what each is for, and where results go.
- Its key is the SHA-256 of all of that, of every option and of the version: equal keys give equal bytes.
- What came of it is a `CaseResult`, which has no time, no machine and no path of the inputs: two runs give the same one.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from .facts import InputFile

CaseStatus = Literal["DONE", "INCOMPLETE", "REFUSED", "AMBIGUOUS", "NO_IMAGE", "NO_MASK", "LEFT_OUT", "GONE"]

# The columns of cohort.tsv, one row for each image and mask of a case, and for each series that is in no case.
COLUMNS = (
    "subject", "session", "case", "status", "role", "series", "kind", "mask", "label", "link", "verdict", "code", "message",
    "voxels", "ml", "grid", "folder", "output", "sha256", "inputs_sha256", "key", "image", "modality", "channel",
)  # fmt: skip

TableRow = dict[str, str]  # of cohort.tsv, by column; a missing one is empty


class Place(NamedTuple):
    """Where a case belongs. name: of the case, unique within subject and session; alone: whether there is no other."""

    subject: str
    session: str
    name: str
    alone: bool


class CaseSeries(NamedTuple):
    """One series of a case.

    link: why it belongs to it, "" for the image itself; of unread files ("unread" is their kind) the key of the series that
    they may be a plane of. channel: of an image, from 0; channel_name: by the rule of the user, "" without. description: what
    says how an image was made. mask_name: of a mask series; image: the key of the image that it was linked to.
    """

    key: str
    kind: str
    title: str
    folder: str
    link: str
    files: tuple[InputFile, ...]
    modality: str = ""
    description: str = ""
    mask_name: str = ""
    image: str = ""
    channel: int = 0
    channel_name: str = ""


class Case(NamedTuple):
    """What is converted together.

    images: one a channel; the masks lie on the first. masks: on it. others: further series and unread files that must be
    seen to read these: images that the same masks lie on too, and files that may be a plane. identifiers: of the patient.
    """

    place: Place
    images: tuple[CaseSeries, ...]
    masks: tuple[CaseSeries, ...]
    others: tuple[CaseSeries, ...] = ()
    identifiers: tuple[str, ...] = ()


class CaseOutput(NamedTuple):
    """A file that a case made. path: relative to the output folder, POSIX. size: bytes."""

    path: str
    size: int
    sha256: str


class CaseResult(NamedTuple):
    """What came of a case. rows: of cohort.tsv. inputs: SHA-256 of every file that was converted, by path."""

    key: str
    place: Place
    status: CaseStatus
    rows: tuple[TableRow, ...]
    outputs: tuple[CaseOutput, ...]
    inputs: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """The result as JSON has it."""
        return {
            "Key": self.key,
            "Place": list(self.place),
            "Status": self.status,
            "Rows": list(self.rows),
            "Outputs": [list(output) for output in self.outputs],
            "Inputs": self.inputs,
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> CaseResult:
        """The result that `as_json` gave."""
        return cls(
            value["Key"],
            Place(*value["Place"]),
            value["Status"],
            tuple(value["Rows"]),
            tuple(CaseOutput(*output) for output in value["Outputs"]),
            value["Inputs"],
        )
