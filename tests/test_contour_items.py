"""What is read from the bytes of a contour is what pydicom makes of them, however they are written."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RTStructureSetStorage

from pipeline.core.findings import PipelineError
from pipeline.decode.rtstruct.contour_items import contour_items, image_uids_of, kind_of_item, read_contours
from pipeline.decode.rtstruct.structure_set import _count_kinds

IMAGE = "1.2.840.10008.5.1.4.1.1.2"
UIDS: list[list[str | None]] = [
    ["1.2.3"],
    ["1.2.34"],
    [],
    [""],
    [None],
    ["1.2", "1.3"],
    ["1.2 "],
    ["not a uid"],
    ["1.2\\1.3"],
]
KINDS = [
    "CLOSED_PLANAR",
    "POINT",
    "CLOSEDPLANAR_XOR",
    "closed_planar",
    " CLOSED_PLANAR",
    "OTHER",
    "",
    "POINT\\POINT",
    None,
]
COUNTS = ["3", "03", "12", " 3", "", "-1", "x", "3\\4", "3.5", "12345678901", None]
DATA = [
    "0\\0\\1\\2\\0\\1\\1\\2\\1",
    "0\\0\\1\\2\\0\\1\\1\\2\\1\\",
    "1,5\\0\\1",
    "1e1\\ +2 \\-.5",
    "1\\2",
    "1\\\\2",
    "x\\2\\3",
    "nan\\1\\2",
    "",
    None,
]
SYNTAXES = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian]


def contour(uids: list[str | None], kind: str | None, count: str | None, data: str | None) -> Dataset:
    found = Dataset()
    images = []
    for uid in uids:
        image = Dataset()
        image.ReferencedSOPClassUID = IMAGE
        if uid is not None:
            image.ReferencedSOPInstanceUID = uid
        images.append(image)
    if uids:
        found.ContourImageSequence = images
    for keyword, value in (("ContourGeometricType", kind), ("NumberOfContourPoints", count), ("ContourData", data)):
        if value is not None:
            setattr(found, keyword, "")
            found[keyword]._value = value
    return found


def written(contours: list[Dataset], syntax: str, undefined: bool) -> Dataset:
    """The item of an ROI, read back from a file of the contours."""
    item = Dataset()
    item.ContourSequence = contours
    item["ContourSequence"].is_undefined_length = undefined
    for one in contours:
        if "ContourImageSequence" in one:
            one["ContourImageSequence"].is_undefined_length = undefined
    whole = Dataset()
    whole.SOPClassUID, whole.SOPInstanceUID = RTStructureSetStorage, "1.2.3"
    whole.ROIContourSequence = [item]
    whole.file_meta = FileMetaDataset()
    whole.file_meta.TransferSyntaxUID = syntax
    file = BytesIO()
    whole.save_as(file, enforce_file_format=True)
    file.seek(0)
    read: Dataset = dcmread(file).ROIContourSequence[0]
    return read


def outcome(item: Dataset) -> Any:
    found = [(kind_of_item(c), image_uids_of(c)) for c in contour_items(item)]
    try:
        contours, findings = read_contours("file", "name", item)
    except PipelineError as error:
        return found, error.finding
    plain = [(c.number, c.kind, c.points.tolist(), c.image_uids) for c in contours]
    return found, plain, findings, _count_kinds(item)


@pytest.mark.parametrize("syntax", SYNTAXES, ids=["explicit", "implicit", "big endian"])
@pytest.mark.parametrize("undefined", [False, True], ids=["of a length", "delimited"])
@pytest.mark.filterwarnings("ignore")
def test_bytes_are_read_as_pydicom_reads_them(syntax: str, undefined: bool) -> None:
    plain = ("0\\0\\1\\2\\0\\1\\1\\2\\1", "3", "CLOSED_PLANAR", UIDS[0])
    cases = [(uids, *plain[2::-1]) for uids in UIDS]
    cases += [(UIDS[0], kind, "3", plain[0]) for kind in KINDS]
    cases += [(UIDS[0], "CLOSED_PLANAR", count, plain[0]) for count in COUNTS]
    cases += [(UIDS[0], "CLOSED_PLANAR", "3", data) for data in DATA]
    for case in cases:
        from_bytes, through_pydicom = (written([contour(*case), contour(*case)], syntax, undefined) for _ in range(2))
        for one in contour_items(through_pydicom):
            for keyword in ("ContourImageSequence", "ContourGeometricType", "NumberOfContourPoints"):
                try:
                    one.get(keyword)
                except (ValueError, TypeError, OverflowError):
                    continue
        assert outcome(from_bytes) == outcome(through_pydicom), case


def test_numbers_are_those_of_float() -> None:
    r = np.random.default_rng(0)
    texts = [
        f"{value:.{digits}g}"[:16] for value in r.normal(size=300) * 10.0 ** r.integers(-9, 9, 300) for digits in (3, 9)
    ]
    item = written(
        [contour(["1.2"], "CLOSED_PLANAR", str(len(texts) // 3), "\\".join(texts))], ExplicitVRLittleEndian, False
    )
    contours, findings = read_contours("file", "name", item)
    assert findings == []
    assert contours[0].points.ravel().tolist() == [float(text) for text in texts]
