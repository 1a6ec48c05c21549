"""Leave out of what is written what the user did not name as public, and what --strip takes out beyond that.

Rules:
- By default no name of an input's file or folder is written: a mask that only its folder names is called by the description
  of its series, or “mask”. Labels of a merge keep the names that tell them apart.
- Stripped of names: texts of the file (descriptions, labels, device), what a user typed of them, and every sentence, which is
  replaced by the meaning of its code. Stripped of uids: UIDs are replaced, and digests of inputs left out, since they name a
  file as a UID does. A record holds no date and no time, so that “all” adds none to take out here.
- New UIDs follow from the old one and from the bytes of all inputs, under 2.25: the same input gives the same record, one UID
  is one new UID within it, and whoever knows the UIDs alone cannot find them again.
- A stripped record says so by its Policy, and is no longer proof of what it came from.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from ..core.findings import Code
from ..core.policy import Policy
from ..dicom.frame import Frame
from ..volume.mask import MaskVolume, Segment
from .looks import Looks
from .neutral_names import KnownNames, NeutralNames, names_of
from .product import Product

UID = r"(?<![\w.])[0-2](?:\.(?:0|[1-9]\d*)){4,}(?![\w.])"  # compiled where UIDs are taken out
_TEXTS = ("Manufacturer", "ManufacturersModelName", "SeriesDescription", "ProtocolName", "Part", "Folder")
_IMAGE_TYPES = (
    "ORIGINAL",
    "DERIVED",
    "PRIMARY",
    "SECONDARY",
)  # values 1 and 2 (PS3.3 C.7.6.1.1.2); others may be anything
# What a user types that is a text of the files, or may be one, with what stands for it.
_TYPED: dict[str, Any] = {"Series": None, "Part": None, "Rois": None, "Inside": [], "Order": []}
_TYPED_OPTIONS = frozenset(["--series", "--part", "--rois", "--order", "--labels"])


def publish_product(product: Product, policy: Policy) -> Product:
    """Return a product whose masks have the names that may be written.

    Args:
        product: that is written.
        policy: keep_names and strip.

    Returns: the product, or a copy with other names.
    """
    volume = product.volume
    if policy.strips_names:
        extra: Mapping[str, Any] = {key: value for key, value in product.extra.items() if key != "Part"}
        product = replace(product, extra=extra)
        if not isinstance(volume, MaskVolume):
            return product
        stripped = [_strip_segment(segment) for segment in volume.segments]
        return replace(product, volume=replace(volume, segments=tuple(stripped), name=""))
    if policy.keep_names or product.made_of:
        return product
    name, public = _name_by_folder(product)
    if not name:
        return product
    extra = {**product.extra, "Part": public} if product.extra.get("Part") == name else product.extra
    if not isinstance(volume, MaskVolume):
        return replace(product, extra=extra, unnamed=True)

    def call(text: str) -> str:
        return public + text[len(name) :] if text == name or text.startswith(f"{name} ") else text

    segments = tuple(replace(segment, name=call(segment.name)) for segment in volume.segments)
    volume = replace(volume, segments=segments, name=call(volume.name))
    return replace(product, extra=extra, volume=volume, unnamed=True)


def name_inputs(
    frames: Sequence[Frame | None],
    files: Sequence[tuple[str, Path]],
    digests: Sequence[str],
    looks: Looks,
    keep_names: bool,
) -> NeutralNames:
    """Name the inputs: those of planes in the order of the planes, then all others by their digests.

    Args:
        frames: of the planes; None for one that was filled in.
        files: every input with its role, "" for those of the mask or image itself.
        digests: SHA-256 of each of the files.
        looks: what was looked at in this run.
        keep_names: whether names stay as they are on disk.

    Returns: what each is called.
    """
    roles = {path: role for role, path in reversed(files)}
    of_planes = [(roles[frame.path], frame.path) for frame in frames if frame is not None and frame.path in roles]
    by_digest = sorted(zip(digests, files, strict=True), key=lambda one: (one[1][0], one[0]))

    def others() -> KnownNames:
        return looks.last(_names_looked_at, looks, len(looks.paths))

    return NeutralNames([*of_planes, *(file for _, file in by_digest)], others, keep=keep_names)


def _names_looked_at(looks: Looks, _: int) -> KnownNames:
    return names_of(looks.paths)


def without_folders(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Further blocks of a record without the names of folders."""
    merged = extra.get("MergedFrom")
    return {**extra} if merged is None else {**extra, "MergedFrom": [{**origin, "Folder": ""} for origin in merged]}


def _name_by_folder(product: Product) -> tuple[str, str]:
    """What masks of planes are called by their folder, and what stands for it; nothing where the folder names none."""
    series = product.series
    if series.kind != "image":
        return "", ""
    folders = {frame.path.parent.name for frame in product.frames if frame is not None}
    part = str(product.extra.get("Part", ""))
    if part in folders:
        return part, product.suffix.partition("_")[0].replace("part-", "part ") or "part"
    if series.mask_name and series.mask_name != series.description:
        return series.mask_name, series.description or "mask"
    return "", ""


def _strip_segment(segment: Segment) -> Segment:
    return replace(segment, name=f"label {segment.number}", category=None, type=None, algorithm="")


def strip_record(record: dict[str, Any], policy: Policy) -> dict[str, Any]:
    """Take out of a record what the policy says.

    Args:
        record: of a conversion, all but Prov.
        policy: strip.

    Returns: the record, or one that shares with it what stays.
    """
    if policy.strips_names:
        record = _strip_names(record)
    if policy.strips_uids:
        record = _strip_uids(record)
    return record


def _strip_names(record: Mapping[str, Any]) -> dict[str, Any]:
    from ..core.finding_help import HELP

    made = {key: value for key, value in record.items() if key not in _TEXTS}
    if "ImageType" in made:
        made["ImageType"] = [word for word in made["ImageType"] if word in _IMAGE_TYPES]
    made["Findings"] = [
        {key: value for key, value in finding.items() if key not in ("Hint", "Where")}
        | {"Message": HELP[Code[finding["Code"]]].meaning}
        for finding in made["Findings"]
    ]
    made["CrossCheck"] = [_without_words(answer) for answer in made["CrossCheck"]]
    made["Request"] = {**made["Request"], **_TYPED}
    made["Provenance"] = {**made["Provenance"], "Command": _strip_command(made["Provenance"]["Command"])}
    made |= _strip_blocks(made)
    if "Assumed" in made["Geometry"]:
        made["Geometry"] = {**made["Geometry"], "Assumed": "stripped"}
    made["Slices"] = [{key: value for key, value in one.items() if key != "Pairing"} for one in made["Slices"]]
    if str(made.get("MaskSource", "")).startswith("Mimics bundle, "):
        made["MaskSource"] = "Mimics bundle, stripped"
    return made


def _strip_blocks(record: Mapping[str, Any]) -> dict[str, Any]:
    """The blocks of a record that name its masks and what they were made of, without the names."""
    made: dict[str, Any] = {}
    if "Roi" in record:
        made["Roi"] = {**record["Roi"], "Name": f"ROI {record['Roi']['Number']}"}
    if "LabelMap" in record:
        made["LabelMap"] = {**record["LabelMap"], "Unmatched": [], "Ignored": []}  # names of masks
    if "Volumes" in record:
        made["Volumes"] = [f"volume {n}" for n, _ in enumerate(record["Volumes"], 1)]
    if "MergedFrom" in record:
        made["MergedFrom"] = [_strip_origin(origin) for origin in record["MergedFrom"]]
    return made


def _without_words(answer: Mapping[str, Any]) -> dict[str, Any]:
    """An answer of another reader without its own words; an index map is told in ours."""
    return {**answer, "Words": ""}


def _strip_origin(origin: Mapping[str, Any]) -> dict[str, Any]:
    labels = [{"Value": label["Value"], "Name": f"label {label['Value']}"} for label in origin["Labels"]]
    return {**origin, "SeriesDescription": None, "Folder": "", "Labels": labels}


def _strip_command(words: Sequence[str]) -> list[str]:
    """The words of a command without those that follow an option of texts."""
    kept: list[str] = []
    for word in words:
        name, mark, _ = word.partition("=")
        if name in _TYPED_OPTIONS and mark:
            word = f"{name}=…"
        kept.append("…" if kept and kept[-1] in _TYPED_OPTIONS else word)
    return kept


def _strip_uids(record: Mapping[str, Any]) -> dict[str, Any]:
    """Replace every UID, and leave out the digests of the inputs."""
    inputs = record["Provenance"]["Inputs"]
    key = "\n".join(sorted(entry["SHA256"] for entry in inputs))
    known: dict[str, str] = {}

    def new(found: re.Match[str]) -> str:
        uid = found[0]
        if uid not in known:
            octets = sha256(f"{key}\n{uid}".encode()).digest()[:16]
            known[uid] = f"2.25.{int.from_bytes(octets, 'big')}"
        return known[uid]

    made: dict[str, Any] = {
        name: value if name in ("Provenance", "Policy") else _on_texts(value, lambda text: re.sub(UID, new, text))
        for name, value in record.items()
    }
    made["Provenance"] = {**record["Provenance"], "Inputs": []}
    made["Provenance"]["Command"] = [re.sub(UID, new, word) for word in made["Provenance"]["Command"]]
    return made


def _on_texts(value: Any, change: Callable[[str], str]) -> Any:
    """Change every text in a value of JSON, however deep; the names of members stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {key: _on_texts(entry, change) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_on_texts(entry, change) for entry in value]
    return value
