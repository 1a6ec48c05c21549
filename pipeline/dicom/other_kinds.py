"""Recognise files of other kinds than DICOM, and say which program or command opens each.

Rules:
- One table, in the order of what a file is worth to someone who wants a mask: of several kinds, the first gives the advice.
- A name is believed where its ending is in it; content where the name says nothing. A ZIP archive has to begin like one:
  other archives are often called so.
- Only where no DICOM was found is anything asked here, so that nothing is slower by it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..core.plain_text import escape_controls
from .files import begins_like_zip
from .source_file import open_source

_START = 1024  # bytes that content is recognised by
_LOOKED_AT = 1000  # files whose content is looked at, where their names say nothing
_NAMED = 3  # kinds that are named one by one


class OtherKind(NamedTuple):
    """A kind of file. one, many: what it is called. advice: what to do with it. starts: offset and bytes of its content."""

    one: str
    many: str
    advice: str
    endings: tuple[str, ...]
    starts: tuple[tuple[int, bytes], ...] = ()


_UNPACK = "Unpack it, and give the folder. verimask reads ZIP archives as they are, and no others."
_DICOM_NEEDED = (
    "It has no place in the patient: neither position, nor orientation, nor spacing in mm. Export the series as DICOM."
)
_COMPRESSED = ((0, b"\x1f\x8b"), (0, b"BZh"), (0, b"\xfd7zXZ\0"), (0, b"\x28\xb5\x2f\xfd"))
KINDS = (
    OtherKind(
        "the list of a bundle from Mimics",
        "lists of bundles from Mimics",
        "It is a bundle that the script of `verimask mimics-script` wrote. Unpack it, and give the folder that holds bundle.json.",
        ("bundle.json",),
    ),
    OtherKind(
        "a Mimics project",
        "Mimics projects",
        "Open it in Mimics and run the script that `verimask mimics-script` writes, which exports the masks; or use File, "
        "Export, DICOM there. Then give the folder that was written.",
        ("mcs",),
        ((0, b"SQLite format 3\0"),),
    ),
    OtherKind(
        "a 3-matic project",
        "3-matic projects",
        "It holds surfaces, which have no voxels. Open the Mimics project that they come from, and export its masks as DICOM.",
        ("mxp",),
    ),
    OtherKind(
        "a surface",
        "surfaces",
        "A surface has no voxels. Export the mask that it was made from as DICOM: in Mimics with File, Export, DICOM, in other "
        "programs as a DICOM segmentation.",
        ("stl", "obj", "ply", "3mf", "vtp", "amf", "off", "x3d", "wrl", "glb", "gltf", "step", "stp", "iges", "igs"),
        ((0, b"solid "), (0, b"ply\n"), (0, b"ply\r\n"), (0, b"# Blender"), (0, b"glTF")),
    ),
    OtherKind(
        "a NIfTI file",
        "NIfTI files",
        "It is what verimask writes, and not what it converts. `verimask check` or `verimask diagnose` with the DICOM series tell "
        "whether it lies right, `verimask explain` where it lies; `verimask export` makes DICOM of a mask; `convert --like` takes "
        "its grid.",
        ("nii", "nii.gz", "hdr", "img", "img.gz"),
        ((344, b"n+1\0"), (344, b"ni1\0"), (4, b"n+2\0\r\n\x1a\n"), (0, b"\x5c\x01\0\0")),
    ),
    OtherKind(
        "a volume of another format",
        "volumes of another format",
        "It is a volume with a header of its own, not DICOM: there are no planes to prove its place by. SimpleITK or 3D Slicer "
        "write it as NIfTI, which `verimask check` then holds against the DICOM series.",
        ("mha", "mhd", "nrrd", "nhdr", "mgh", "mgz", "mnc", "vti", "vtk", "par", "rec", "gipl", "am", "tiff3d"),
        ((0, b"NRRD0"), (0, b"ObjectType ="), (0, b"# vtk DataFile"), (0, b"CDF\x01"), (0, b"# AmiraMesh")),
    ),
    OtherKind(
        "an array without a place",
        "arrays without a place",
        "An array says nothing of where its voxels lie. `verimask diagnose` finds how one of NumPy or NIfTI lies in its series; "
        "to convert, give the DICOM series that it came from.",
        ("mat", "npy", "npz", "h5", "hdf5", "raw", "pkl", "pt"),
        ((0, b"MATLAB 5.0"), (0, b"\x93NUMPY"), (0, b"\x89HDF\r\n\x1a\n")),
    ),
    OtherKind(
        "one part of a split archive",
        "parts of a split archive",
        "Put all parts into one folder and unpack them from the first, and give the folder of what comes out.",
        ("z01", "z02", "001", "002", "part1", "r00", "r01"),
        ((0, b"PK\x07\x08"),),
    ),
    OtherKind(
        "a packed archive",
        "packed archives",
        _UNPACK,
        ("tar", "tar.gz", "tgz", "tar.bz2", "tbz2", "tar.xz", "txz", "7z", "rar", "iso", "cab", "dmg"),
        ((257, b"ustar"), (0, b"7z\xbc\xaf\x27\x1c"), (0, b"Rar!\x1a\x07")),
    ),
    OtherKind("a compressed file", "compressed files", _UNPACK, ("gz", "bz2", "xz", "zst", "lz4", "z"), _COMPRESSED),
    OtherKind(
        "a ZIP archive within an archive",
        "ZIP archives within an archive",
        "Unpack the outer one, and give the inner ones: an archive in an archive is not opened.",
        ("zip",),
        ((0, b"PK\x03\x04"),),
    ),
    OtherKind(
        "a picture",
        "pictures",
        _DICOM_NEEDED,
        ("png", "jpg", "jpeg", "bmp", "gif", "tif", "tiff", "webp", "heic", "svg", "jp2"),
        ((0, b"\x89PNG\r\n\x1a\n"), (0, b"\xff\xd8\xff"), (0, b"GIF8"), (0, b"II*\0"), (0, b"MM\0*"), (0, b"BM")),
    ),
    OtherKind("a film", "films", _DICOM_NEEDED, ("mp4", "avi", "mov", "mpg", "mpeg", "wmv", "mkv"), ((4, b"ftyp"),)),
    OtherKind(
        "a web page",
        "web pages",
        "Where a file of another name holds a web page, its download failed: the page says why. Download it again.",
        ("html", "htm"),
        ((0, b"<!DOCTYPE html"), (0, b"<!doctype html"), (0, b"<html")),
    ),
    OtherKind(
        "a document",
        "documents",
        "It holds no voxels. Give the folder of the DICOM images, or of the SEG or RTSTRUCT.",
        (
            "pdf",
            "doc",
            "docx",
            "xls",
            "xlsx",
            "ppt",
            "pptx",
            "odt",
            "txt",
            "md",
            "csv",
            "tsv",
            "json",
            "xml",
            "yaml",
            "rtf",
        ),
        ((0, b"%PDF-"), (0, b"{"), (0, b"<?xml")),
    ),
)


def kind_of(path: Path) -> OtherKind | None:
    """Recognise one file, by its name or else by its content; None where neither is known."""
    by_name = _kind_by_name(path)
    if by_name is not None and "zip" not in by_name.endings:
        return by_name
    try:
        with open_source(path) as file:
            start = file.read(_START)
    except OSError:
        return by_name
    if by_name is not None and begins_like_zip(start):
        return by_name
    return next((kind for kind in KINDS if any(start[at:].startswith(mark) for at, mark in kind.starts)), None)


def says_otherwise(path: Path) -> bool:
    """Whether the name of a ZIP archive says that it is something else, as that of a document or of arrays does."""
    kind = _kind_by_name(path)
    return kind is not None and "zip" not in kind.endings


def describe_others(paths: Sequence[Path]) -> tuple[str, str]:
    """Say what files are that are not DICOM, and what to do; "" and "" where none is known.

    Args:
        paths: of the files that were looked at, none of them DICOM.

    Returns:
        What they are, as "2 are surfaces (heart.stl)", and the advice.
    """
    found = [(kind, path) for path in paths[:_LOOKED_AT] if (kind := kind_of(path)) is not None]
    if not found:
        return "", ""
    first = dict(reversed(found))
    kinds = sorted(Counter(kind for kind, _ in found).items(), key=lambda counted: KINDS.index(counted[0]))
    if len(paths) == 1:
        return f"{escape_controls(paths[0].name)} is {kinds[0][0].one}", kinds[0][0].advice
    parts = [
        f"{count} {'are ' + kind.many if count > 1 else 'is ' + kind.one} ({escape_controls(first[kind].name)})"
        for kind, count in kinds[:_NAMED]
    ]
    return ", ".join(parts), kinds[0][0].advice


def _kind_by_name(path: Path) -> OtherKind | None:
    """The kind that the longest known ending of a name stands for."""
    name = f".{path.name.casefold()}"
    found = [(ending, kind) for kind in KINDS for ending in kind.endings if name.endswith(f".{ending}")]
    return max(found, key=lambda one: len(one[0]))[1] if found else None
