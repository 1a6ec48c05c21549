"""The output of a cohort, made of real conversions: images, masks on their grids, records, and a cohort.tsv over them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from pipeline import Policy, Request, convert
from tests.helpers import phantom

COLUMNS = (
    "subject", "session", "case", "status", "role", "series", "kind", "mask", "label", "link", "verdict", "code", "message",
    "voxels", "ml", "grid", "folder", "output", "sha256", "inputs_sha256", "key", "image",
)  # fmt: skip

Row = dict[str, str]


def write_table(out: Path, rows: Iterable[Mapping[str, str]], columns: Iterable[str] = COLUMNS) -> Path:
    """Write cohort.tsv as a cohort does: one line a row, empty where a row has no value."""
    columns = tuple(columns)
    lines = ["\t".join(columns), *("\t".join(row.get(column, "") for column in columns) for row in rows)]
    path = out / "cohort.tsv"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def rows_of(out: Path, record: Path, subject: str, *, case: str = "CT", **more: str) -> list[Row]:
    """The rows of one file that was converted, from its record: one of an image, or one for each label."""
    values: dict[str, Any] = json.loads(record.read_text("utf-8"))
    file = record.with_name(values["Output"])
    warnings = [f for f in values["Findings"] if f["Severity"] != "info"]
    common = {
        "subject": subject, "case": case, "status": "DONE", "verdict": values["Verdict"], "key": sha256(subject.encode()).hexdigest()[:16],
        "code": " ".join(dict.fromkeys(f["Code"] for f in warnings)), "message": " ".join(f["Message"] + "." for f in warnings),
        "output": file.relative_to(out).as_posix(), "sha256": sha256(file.read_bytes()).hexdigest(),
        "grid": " × ".join(map(str, values["Shape"])), "folder": f"{subject}/{case}",
    }  # fmt: skip
    if "Labels" not in values:
        return [common | {"role": "image", "kind": "image", "modality": values.get("Modality", "")} | more]
    several = len(values["Labels"]) > 1
    return [
        common
        | {"role": "mask", "mask": label["Name"], "label": str(label["Value"]) if several else ""}
        | {"voxels": str(label["Voxels"]), "ml": f"{label['VolumeMl']:.4f}", "link": "it refers to the image"}
        | more
        for label in values["Labels"]
    ]


def make_case(out: Path, subject: str, *, labels: tuple[int, ...] = (1, 2, 3), **changes: Any) -> list[Row]:
    """Convert a phantom as an image and as a label map on the same grid; the rows of both."""
    source = out.parent / f"{out.name}-dicom" / subject
    spec = phantom.Spec(shape=(34, 30, 16), seed=subject, description="phantom")
    phantom.write(source / "image", spec, content="index", series_number=3, **changes)
    phantom.write(source / "mask", spec, labels=labels, **changes)
    folder = out / subject
    folder.mkdir(parents=True)
    off = Policy(crosscheck="off")
    convert([source / "image"], folder / "image.nii.gz", policy=Policy(crosscheck="off", as_="image"))
    convert([source / "mask"], folder / "labels.nii.gz", policy=off)
    records = (folder / "image.json", folder / "labels.json")
    return [row for record in records for row in rows_of(out, record, subject)]


def make_ibsi(tree: Path, out: Path) -> Path:
    """Convert the nine pairs of the IBSI tree (images, and structure sets on them), and write their table."""
    rows = []
    for n, patient in enumerate(sorted(p for p in (tree / "dicom").iterdir() if p.is_dir()), 1):
        for kind in sorted(p for p in patient.iterdir() if p.is_dir()):
            folder = out / f"P{n}" / kind.name
            folder.mkdir(parents=True)
            convert([kind / "image"], folder / "image.nii.gz", policy=Policy(as_="image", crosscheck="affine"))
            request = Request(source=(kind / "image",))
            convert([kind / "mask"], folder / "mask.nii.gz", request=request, policy=Policy(crosscheck="affine"))
            for name in ("image", "mask"):
                key = sha256(f"{n}{kind.name}".encode()).hexdigest()[:16]
                rows += rows_of(out, folder / f"{name}.json", f"P{n}", case=kind.name, key=key)
    return write_table(out, rows, (*COLUMNS, "modality", "channel"))
