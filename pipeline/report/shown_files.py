"""Find what of a case can be drawn: its image, and its masks with their colours.

Rules:
- A file with a problem is not drawn. What is missing in a picture is said beside it.
- A mask has the colour of its record, or else one of the palette by its place in the case.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from ..conversion.page_file import page_of
from ..core.json_file import read_json
from ..core.regular_file import is_file
from ..volume.label_table import Colour
from ..volume.mask import Segment
from .case_pictures import ImageFile, MaskFile
from .cohort_table import PageCase, TableLine
from .file_memory import FileMemory
from .pictures import colour_of

_Labels = list[tuple[int, str, Colour | None]]


class CaseFiles(NamedTuple):
    """What of a case is drawn and opened.

    masks: for each of `case.masks`, None where it cannot be drawn. links: by output, the files that can be opened
    ("file", "record" and "page"), as URLs relative to the folder of the table.
    """

    image: ImageFile | None
    masks: tuple[MaskFile | None, ...]
    links: dict[str, dict[str, str]]

    @property
    def drawn(self) -> list[MaskFile]:
        return [mask for mask in self.masks if mask is not None]


def find_case_files(case: PageCase, memory: FileMemory) -> CaseFiles:
    """Find what of a case can be drawn and opened."""
    sound = {output: path for output, path in case.files.items() if output not in case.problems}
    images = [row for row in case.images if row["output"] in sound]
    image = None
    if images:
        first = images[0]
        image = ImageFile(sound[first["output"]], first["sha256"], first.get("modality", ""))
    outputs = {row["output"] for row in case.masks} & sound.keys()
    labels = {output: _read_labels(sound[output], output, memory) for output in outputs}
    masks = tuple(
        _find_mask(n, row, sound[row["output"]], labels[row["output"]]) if row["output"] in sound else None
        for n, row in enumerate(case.masks)
    )
    return CaseFiles(image, masks, {output: _find_links(output, path) for output, path in case.files.items()})


def _find_mask(number: int, row: TableLine, path: Path, labels: _Labels) -> MaskFile:
    value, colour = _find_label(row, labels)
    return MaskFile(path, row["sha256"], value, colour or colour_of(Segment(number + 1, row["mask"])))


def _find_links(output: str, path: Path) -> dict[str, str]:
    page = page_of(path)
    folder = output[: -len(path.name)]
    places = {"file": path, "record": page.with_suffix(".json"), "page": page}
    return {kind: f"./{quote(folder + place.name)}" for kind, place in places.items() if is_file(place)}


def _find_label(row: TableLine, labels: Sequence[tuple[int, str, Colour | None]]) -> tuple[int | None, Colour | None]:
    """Find the value and the colour of a row's mask in its file; without a value all that is not 0 is it."""
    value = int(row["label"]) if row["label"].isdecimal() else None
    for number, name, colour in labels:
        if number == value or (value is None and (len(labels) == 1 or name == row["mask"])):
            return (value if len(labels) == 1 else number), colour
    return value, None


def _read_labels(path: Path, name: str, memory: FileMemory) -> _Labels:
    """Read the labels that the record of a file has; none where there is no such record."""
    record = page_of(path).with_suffix(".json")
    try:
        kept = memory.read(record, f"labels {name}", _labels_of)
        return [(int(value), str(text), _as_colour(colour)) for value, text, colour in kept]
    except (OSError, ValueError, TypeError):
        return []


def _labels_of(record: Path) -> list[list[Any]]:
    values = read_json(record)
    labels = values.get("Labels", []) if isinstance(values, dict) else []
    return [[label["Value"], label["Name"], label.get("Colour")] for label in labels if {"Value", "Name"} <= set(label)]


def _as_colour(colour: Any) -> Colour | None:
    if colour is None:
        return None
    red, green, blue = (min(max(int(part), 0), 255) for part in colour)
    return red, green, blue
