"""Write a file that was proven once more, to a place of its own, with its record.

Rules:
- The bytes are those of the proof. They are read back and compared, and the record says the new name and digest.
- What exists is never replaced unless that was asked for.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..conversion.existing_output import companions_of
from ..conversion.input_places import refuse_inputs
from ..conversion.output_path import checked_target, free_target
from ..conversion.prov import build_prov
from ..conversion.record import sidecar_of, write_record
from ..conversion.write import parts_in_place
from ..core import arguments
from ..core.findings import Code, refuse
from ..core.policy import Policy
from ..dicom.source_file import sha256
from ..nifti.streams import open_stream


def save_file(
    data: bytes, record: Mapping[str, Any], path: str | Path, inputs: Sequence[Path], *, overwrite: bool
) -> Path:
    """Write a file with its record beside it.

    Args:
        data: the bytes of a .nii file.
        record: of the conversion that proved them.
        path: ending in .nii or .nii.gz.
        inputs: files that it was made of, which are never replaced.
        overwrite: whether to replace what is there else.

    Returns: the path.

    Raises: PipelineError OUTPUT_NAME, OUTPUT_EXISTS, CANNOT_WRITE, READ_BACK_DIFFERS.
    """
    arguments.check_flag("overwrite", overwrite)
    target = checked_target(arguments.path("path", path))
    refuse_inputs((target, sidecar_of(target)), inputs)
    free_target(target, Policy(write="overwrite" if overwrite else "refuse"))
    gzipped = target.name.endswith(".gz")
    gone = companions_of(target, None) if overwrite else []
    with parts_in_place(target, None, overwrite=overwrite, gone=gone) as (image_part, record_part, _):
        with open_stream(image_part, "wb", gzipped=gzipped) as file:
            file.write(data)
        with open_stream(image_part, "rb", gzipped=gzipped) as file:
            if file.read() != data:
                raise refuse(
                    Code.READ_BACK_DIFFERS,
                    f"{target.name} read back is not what was written",
                    "Disk or memory may be faulty: write elsewhere.",
                    where=(target.name,),
                )
        provenance = {**record["Provenance"], "OutputSHA256": sha256(image_part)}
        saved = {**record, "Output": target.name, "Provenance": provenance}
        if "Prov" in record:
            saved["Prov"] = build_prov(saved)
        write_record(record_part, saved)
    return target
