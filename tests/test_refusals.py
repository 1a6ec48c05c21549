"""A refusal whose words could be of any file is understood for the kind it is known of, and leaves a doubt for all others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.crosscheck.agreement import Testimony as Told  # a class called Test… would be collected
from pipeline.crosscheck.refusals import is_understood
from pipeline.dicom.frame import Frame
from pipeline.dicom.scan import scan
from tests.helpers.cases_colour import palette, unique_tables
from tests.helpers.colour_series import NATIVE, smooth_colours
from tests.helpers.hard_case import SMALL
from tests.helpers.phantom import Edit, Spec, write
from tests.helpers.vector_edits import dose

BYTES = replace(SMALL, shape=(12, 10, 3), bits_allocated=8, content="mask")
PLAIN: tuple[Spec, Edit] = (SMALL, lambda k, dataset: None)
SAID = "An invalid logic behavior occurred "
KINDS: dict[str, tuple[str, str, tuple[Spec, Edit]]] = {
    "JPEG-LS": ("SimpleITK", "len <= outbv->GetLength()", (replace(SMALL, transfer_syntax="jpeg-ls"), PLAIN[1])),
    "a palette": ("SimpleITK", "subscript == 0", (BYTES, palette(unique_tables(256)))),
    "signed MONOCHROME1": (
        "SimpleITK",
        "PF.GetBitsStored() != 16",
        (replace(SMALL, photometric="MONOCHROME1", signed=True, bits_stored=12), PLAIN[1]),
    ),
    "an RT dose": ("SimpleITK", "idx < GetNumberOfValues()", (SMALL, dose(SMALL))),
    "halved chrominances": (
        "dcm2niix",
        "wrote 0 files for one series. Warning: File not large enough to store image data: x",
        (BYTES, NATIVE["YBR_FULL_422"].edit(smooth_colours(BYTES.shape))),
    ),
}


def frame_of(folder: Path, spec: Spec, edit: Edit) -> Frame:
    write(folder, spec, edit=edit)
    return scan([folder]).series[0].frames[0]


@pytest.mark.parametrize("kind", KINDS)
def test_words_of_any_file_are_understood_for_one_kind_alone(tmp_path: Path, kind: str) -> None:
    witness, words, written = KINDS[kind]
    told = Told(witness, "1", refusal=(SAID if witness == "SimpleITK" else "") + words)
    assert is_understood(told, frame_of(tmp_path / "kind", *written))
    assert not is_understood(told, frame_of(tmp_path / "plain", *PLAIN))
