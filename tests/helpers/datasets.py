"""Small data sets of real conversions, arranged by a layout as a cohort arranges them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from pydicom import dcmread
from pydicom.uid import MRImageStorage

from pipeline.cohort.case import CaseOutput, CaseResult, CaseStatus, Place, TableRow
from pipeline.cohort.layouts.layout import CaseImage, DatasetLayout
from pipeline.conversion.convert import convert
from pipeline.conversion.record import Outcome
from pipeline.conversion.request import Request
from pipeline.core.policy import Policy
from pipeline.dicom.source_file import sha256
from tests.helpers.rtphantom import ROOT, PhantomRoi, grid, on, rectangle, write_images, write_struct

_POLICY = Policy(crosscheck="off")


class MadeCase(NamedTuple):
    """One case to be made. masks: names of ROIs, drawn side by side; none for an image alone. images: modality and
    description, one a channel. in_one: whether its masks are a label map."""

    place: Place
    masks: tuple[str, ...] = ("Liver", "Spleen")
    images: tuple[tuple[str, str], ...] = (("CT", "abdomen"),)
    in_one: bool = True


def write_dataset(out: Path, layout: DatasetLayout, cases: Sequence[MadeCase], dicom: Path) -> list[CaseResult]:
    """Convert all cases into OUT by the layout, with every text it writes. dicom: a folder for the inputs."""
    places = layout.fit_places([case.place for case in cases])
    results = [
        _write_case(out, layout, case._replace(place=place), dicom / str(number))
        for number, (case, place) in enumerate(zip(cases, places, strict=True))
    ]
    for texts in [*map(layout.texts_of_case, results), layout.texts_of_cohort(results)]:
        write_texts(out, texts.items())
    return results


def write_texts(out: Path, texts: Iterable[tuple[str, str]]) -> None:
    for path, text in texts:
        assert not (out / path).exists(), f"{path} is written twice"
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(text.encode())


def _write_case(out: Path, layout: DatasetLayout, case: MadeCase, dicom: Path) -> CaseResult:
    g = grid(shape=(24, 20, 5))
    rows: list[TableRow] = []
    outputs: list[CaseOutput] = []

    def keep(outcome: Outcome, role: str, **columns: str) -> None:
        for path in (outcome.output, outcome.output.with_name(outcome.output.name[:-7] + ".json")):
            outputs.append(CaseOutput(path.relative_to(out).as_posix(), path.stat().st_size, sha256(path)))
        rows.append({"role": role, "output": outputs[-2].path, **columns})

    for channel, (modality, description) in enumerate(case.images):
        uid = f"{ROOT}.2{channel or ''}"
        folder = write_images(dicom / f"image{channel}", g, uid, description=description)
        if modality != "CT":
            _change_modality(folder, modality)
        path = layout.image(case.place, CaseImage(channel, "", modality, description, has_masks=bool(case.masks)))
        keep(_convert(folder, out / path, image=True), "image", modality=modality, channel=str(channel))
    if case.masks:
        rois = [_roi(name, n) for n, name in enumerate(case.masks)]
        struct = write_struct(dicom / "rs.dcm", rois)
        source = (dicom / "image0",)
        if case.in_one:
            outcome = _convert(struct, out / layout.labels(case.place), Request(source=source, merge=True))
            for label in outcome.labels or ():
                keep(outcome, "mask", mask=label.name, label=str(label.value))
        else:
            for number, name in enumerate(layout.mask_names(case.masks), 1):
                request = Request(source=source, wanted=(str(number),))
                keep(_convert(struct, out / layout.mask(case.place, name), request), "mask", mask=name)
    status: CaseStatus = "DONE" if case.masks else "NO_MASK"
    return CaseResult("0" * 64, case.place, status, tuple(rows), tuple(dict.fromkeys(outputs)), {})


def _convert(inputs: Path, output: Path, request: Request | None = None, *, image: bool = False) -> Outcome:
    output.parent.mkdir(parents=True, exist_ok=True)
    return convert([inputs], output, request=request, policy=replace(_POLICY, as_="image" if image else "mask"))


def _roi(name: str, number: int) -> PhantomRoi:
    """A box of its own in the middle planes."""
    g = grid(shape=(24, 20, 5))
    left = 1 + number * 4
    boxes = [on(g, rectangle(left, left + 3, 3, 9), plane) for plane in (1, 2, 3)]
    return PhantomRoi(name, boxes, number=number + 1)


def _change_modality(folder: Path, modality: str) -> None:
    for path in folder.iterdir():
        ds = dcmread(path)
        ds.Modality = modality
        if modality == "MR":
            ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = MRImageStorage
        ds.save_as(path, enforce_file_format=True)


def read_text(out: Path, path: str) -> object:
    """What a JSON file of the data set holds."""
    return json.loads((out / path).read_text("utf-8"))
