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
from ..volume.label_table import Colour
from ..volume.mask import Segment
from .case_pictures import ImageFile, MaskFile
from .cohort_table import PageCase, TableLine, locate
from .file_memory import FileMemory
from .pictures import colour_of

_Labels = list[tuple[int, str, Colour | None]]


class CaseFiles(NamedTuple):
    """What is drawn of a case. masks: by the number of the row among `case.masks`. colours: of all of these rows."""

    image: ImageFile | None
    masks: dict[int, MaskFile]
    colours: tuple[Colour, ...]


def find_case_files(out: Path, case: PageCase, memory: FileMemory) -> CaseFiles:
    """Find what of a case can be drawn."""
    images = [row for row in case.images if _is_sound(case, row)]
    image = None
    if images and (path := locate(out, images[0]["output"])) is not None:
        image = ImageFile(path, images[0]["sha256"], images[0].get("modality", ""))
    masks, colours = {}, []
    for n, row in enumerate(case.masks):
        path = locate(out, row["output"]) if _is_sound(case, row) else None
        labels = [] if path is None else _read_labels(path, row["output"], memory)
        value, colour = _find_label(row, labels)
        colours.append(colour or colour_of(Segment(n + 1, row["mask"])))
        if path is not None:
            masks[n] = MaskFile(path, row["sha256"], value, colours[-1])
    return CaseFiles(image, masks, tuple(colours))


def find_links(out: Path, row: TableLine) -> dict[str, str]:
    """Find the files of a row that can be opened: "file", "record" and "page", as URLs relative to the folder."""
    path = locate(out, row["output"])
    if path is None:
        return {}
    record, page = path.with_suffix("").with_suffix(".json"), page_of(path)
    stem = row["output"].removesuffix(".gz").removesuffix(".nii")
    found = {"file": (path, row["output"]), "record": (record, f"{stem}.json"), "page": (page, f"{stem}.html")}
    return {kind: f"./{quote(relative)}" for kind, (place, relative) in found.items() if place.is_file()}


def _is_sound(case: PageCase, row: TableLine) -> bool:
    return bool(row["output"]) and row["output"] not in case.problems


def _find_label(row: TableLine, labels: Sequence[tuple[int, str, Colour | None]]) -> tuple[int | None, Colour | None]:
    """Find the value and the colour of a row's mask in its file; without a value all that is not 0 is it."""
    value = int(row["label"]) if row["label"].isdecimal() else None
    for number, name, colour in labels:
        if number == value or (value is None and (len(labels) == 1 or name == row["mask"])):
            return (value if len(labels) == 1 else number), colour
    return value, None


def _read_labels(path: Path, name: str, memory: FileMemory) -> _Labels:
    """Read the labels that the record of a file has; none where there is no such record."""
    record = path.with_suffix("").with_suffix(".json")
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
