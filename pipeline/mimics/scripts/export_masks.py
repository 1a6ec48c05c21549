"""Export the masks of the open Mimics project, with the place of their voxels, for verimask. Runs inside Mimics 21-27.

How to run it
- Mimics: Script > Run Script (or the Editor), this file. The result is a new folder "verimask-DATE-TIME" in your home
  folder, or the folder named in OUTPUT_FOLDER below.
- Command line: MimicsMedical.exe -b -r export_masks.py OUTDIR [--images] [--dicom] [NAME ...]
  OUTDIR must be new or empty. --images adds the grey values. --dicom adds what File > Export > DICOM writes: the series
  without masks, and one series per mask with only that mask shown. NAME: only the masks of that name.
- Then, outside Mimics: verimask convert OUTDIR

Rules
- Python 3.5 and its standard library only: that is what Mimics 21 brings. No numpy.
- Nothing in the project is changed. What --dicom hides is shown again, whatever happens.
- No patient attribute is written: only the DICOM attributes of GEOMETRY_TAGS, and the names of masks and image sets.
- A voxel's place is what Mimics itself says of it (get_voxel_center), asked at the corners, on every plane and inside.
- bundle.json is written last; a folder without it is not a bundle.
"""
# ruff: noqa: UP031
# mypy: disallow-any-generics=False

import contextlib
import gzip
import hashlib
import itertools
import json
import os
import random
import shutil
import sys
import time
from typing import Any

import mimics  # type: ignore[import-not-found]

OUTPUT_FOLDER = ""  # for example r"C:\Users\me\bundles\spine"; empty: a new folder in the home folder

FORMAT = "verimask-mimics-bundle"
VERSION = 1
GEOMETRY_TAGS = (
    (0x0008, 0x0018),  # SOP Instance UID
    (0x0020, 0x000E),  # Series Instance UID
    (0x0020, 0x0052),  # Frame of Reference UID
    (0x0020, 0x0032),  # Image Position (Patient)
    (0x0020, 0x0037),  # Image Orientation (Patient)
    (0x0028, 0x0030),  # Pixel Spacing
    (0x0028, 0x0010),  # Rows
    (0x0028, 0x0011),  # Columns
)
SHARED_GROUPS, FRAME_GROUPS = (0x5200, 0x9229), (0x5200, 0x9230)
FRAME_TAGS = (  # where a multi-frame object keeps them: sequence, attribute
    ((0x0020, 0x9113), (0x0020, 0x0032)),
    ((0x0020, 0x9116), (0x0020, 0x0037)),
    ((0x0028, 0x9110), (0x0028, 0x0030)),
)
INFORMATION = (  # of get_image_information; the patient's and the project's names are left where they are
    "orientation",
    "gantry_tilt",
    "obliqueness",
    "slice_increment",
    "slice_thickness",
    "number_of_slices",
    "width",
    "height",
    "pixel_size",
    "pixel_units",
    "reduction",
)
SAMPLES = 200  # voxels compared in the grey value test


def main(arguments: list) -> None:
    folder, flags, names = parse(arguments)
    notes = []  # type: list
    masks = chosen_masks(names, notes)
    open_folder(folder)
    try:
        with quiet_gui():
            bundle = collect(masks, folder, "--images" in flags, notes)
            if "--dicom" in flags:
                export_dicom(bundle, folder, notes)
        public = without_objects(bundle)
        part = os.path.join(folder, "bundle.json.part")
        with open(part, "w", encoding="utf-8") as file:
            file.write(json.dumps(public, indent=1, sort_keys=True))
        os.replace(part, os.path.join(folder, "bundle.json"))
    except BaseException:
        for name in os.listdir(folder):  # it was empty before
            remove(os.path.join(folder, name))
        print("Nothing was exported: the folder %s was emptied again." % folder)
        raise
    print(report(public, folder))


def parse(arguments: list) -> tuple:
    """(folder, flags, names). Raises ValueError for an unknown option."""
    flags = [a for a in arguments if a.startswith("--")]
    unknown = [f for f in flags if f not in ("--images", "--dicom")]
    if unknown:
        raise ValueError("Unknown option %s. Known: --images --dicom" % ", ".join(unknown))
    words = [a for a in arguments if not a.startswith("--")]
    default = os.path.join(os.path.expanduser("~"), time.strftime("verimask-%Y%m%d-%H%M%S"))
    folder = words[0] if words else OUTPUT_FOLDER or default
    return os.path.abspath(folder), flags, words[1:]


def open_folder(folder: str) -> None:
    if os.path.isfile(folder) or (os.path.isdir(folder) and os.listdir(folder)):
        raise ValueError("%s is not an empty folder. Name a new one; nothing was exported." % folder)
    if not os.path.isdir(folder):
        os.makedirs(folder)


def remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.remove(path)


@contextlib.contextmanager
def quiet_gui() -> Any:
    """No redrawing meanwhile, where this Mimics offers that."""
    off, on = getattr(mimics, "disable_update_gui", None), getattr(mimics, "enable_update_gui", None)
    if off is None or on is None:
        yield
        return
    off()
    try:
        yield
    finally:
        on()


# ---- what is in the project


def chosen_masks(names: list, notes: list) -> list:
    masks = list(mimics.data.masks)
    called = [str(mask.name) for mask in masks]
    missing = [name for name in names if name not in called]
    if missing or not masks:
        said = "No mask is called %s." % ", ".join(missing) if missing else "The project has no masks."
        raise ValueError("%s There are: %s" % (said, ", ".join(called) or "none"))
    chosen = [mask for mask in masks if not names or str(mask.name) in names]
    for name in sorted({str(mask.name) for mask in chosen}):
        count = sum(str(mask.name) == name for mask in chosen)
        if count > 1:
            notes.append("%d masks are called %r; each is exported under its own number and guid." % (count, name))
    return chosen


def active_image() -> Any:
    """The active image set: a property in Mimics 25, a method in all; None where neither answers."""
    images = mimics.data.images
    active = optional(images, "active")
    if active is None and hasattr(images, "get_active"):
        active = images.get_active()
    return active[0] if isinstance(active, (list, tuple)) and active else active


def optional(thing: Any, name: str, default: Any = None) -> Any:
    """An attribute, or the default where it is missing or refuses to answer, because versions differ."""
    try:
        return getattr(thing, name, default)
    except Exception:
        return default


def plain(value: Any) -> Any:
    """A value as JSON: numbers, text and lists of them."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    with contextlib.suppress(Exception):
        return [plain(item) for item in value]
    with contextlib.suppress(Exception):
        return float(value)
    return str(value)


def collect(masks: list, folder: str, with_images: bool, notes: list) -> dict:
    """Everything of the bundle. Records still hold their Mimics object under "_object"."""
    bundle = {
        "format": FORMAT,
        "version": VERSION,
        "mimics": str(mimics.get_version()) if hasattr(mimics, "get_version") else None,
        "python": sys.version.split()[0],
        "byte_order": sys.byteorder,
        "images": [],
        "masks": [],
        "left_out": [],
        "notes": notes,
    }  # type: dict
    for number, mask in enumerate(masks):
        print("Mask %d of %d: %s" % (number + 1, len(masks), mask.name))
        view = mask.get_voxel_buffer()
        image, assumed = mask.image, False
        if image is None:
            image, assumed = active_image(), True
        record = None if image is None else image_record(image, bundle["images"], folder, with_images, notes)
        if record is None or record["shape"] != list(view.shape):
            owner = "the active image set (the mask has none of its own)" if assumed else "its image set"
            size = "nothing" if record is None else by(record["shape"])
            why = "the mask has %s voxels, and %s has %s" % (by(view.shape), owner, size)
            bundle["left_out"].append({"name": str(mask.name), "why": why})
            continue
        entry = mask_record(mask, view, "mask-%03d" % (len(bundle["masks"]) + 1), folder)
        entry.update({"image": record["number"], "image_assumed": assumed})
        bundle["masks"].append(entry)
    if not bundle["masks"]:
        raise ValueError("No mask can be exported. " + "; ".join("%(name)s: %(why)s" % m for m in bundle["left_out"]))
    return bundle


def without_objects(bundle: dict) -> dict:
    public = dict(bundle)
    for key in ("images", "masks"):
        public[key] = [{k: v for k, v in record.items() if k != "_object"} for record in bundle[key]]
    return public


# ---- masks


def mask_record(mask: Any, view: Any, stem: str, folder: str) -> dict:
    record = {
        "name": str(mask.name),
        "guid": str(optional(mask, "guid", "")),
        "color": plain(optional(mask, "color")),
        "number_of_pixels": plain(optional(mask, "number_of_pixels")),
        "_object": mask,
    }
    data = view.tobytes()  # C order, also where the view is not contiguous
    record["voxels"] = len(data) - data.count(b"\0") if view.itemsize == 1 else None
    record.update(write_buffer(view, data, stem, folder))
    return record


def write_buffer(view: Any, data: bytes, stem: str, folder: str) -> dict:
    name = stem + ".raw.gz"
    with open(os.path.join(folder, name), "wb") as file, gzip.GzipFile("", "wb", 3, file, 0) as packed:
        packed.write(data)
    return {
        "file": name,
        "format": view.format,
        "itemsize": view.itemsize,
        "shape": list(view.shape),
        "sha256": hashlib.sha256(data).hexdigest(),
    }


# ---- image sets: geometry, self-tests, tags


def image_record(image: Any, records: list, folder: str, with_buffer: bool, notes: list) -> dict:
    """The record of an image set, made when it is first met."""
    guid = str(optional(image, "guid", ""))
    for record in records:
        if record["_object"] is image or (guid and record["guid"] == guid):
            return record  # type: ignore[no-any-return]
    view = image.get_voxel_buffer()
    shape = [int(n) for n in view.shape]
    probes = [probe(image, index) for index in probe_indexes(shape)]
    information = image.get_image_information() if hasattr(image, "get_image_information") else None
    tags, planes = tag_planes(image, shape[2], notes)
    residual, worst = fit_residual(probes, shape)
    record = {
        "number": len(records),
        "name": str(image.name),
        "guid": guid,
        "shape": shape,
        "logical_dimensions": plain(optional(image, "logical_dimensions")),
        "physical_dimensions": plain(optional(image, "physical_dimensions")),
        "pixel_size": plain(optional(image, "pixel_size")),
        "slice_distance": plain(optional(image, "logical_slice_distance")),
        "units": plain(optional(image, "units", optional(information, "units"))),
        "information": {name: plain(optional(information, name)) for name in INFORMATION},
        "registered": optional(image, "registration_transformation") is not None,
        "dicom_data_modified": plain(optional(image, "is_dicom_data_modified")),
        "probes": probes,
        "fit": {"residual": residual, "worst": worst},
        "self_tests": {
            "round_trip": round_trip_test(image, probes),
            "grey_value": grey_value_test(image, view, shape),
        },
        "has_tags": tags,
        "planes": planes,
        "buffer": None,
        "_object": image,
    }
    if with_buffer:
        record["buffer"] = write_buffer(view, view.tobytes(), "image-%d" % (len(records) + 1), folder)
    records.append(record)
    return record


def probe_indexes(shape: list) -> list:
    """Voxels whose centres are asked for: the 8 corners, two lines through every plane, and some inside."""
    last = [n - 1 for n in shape]
    found = list(itertools.product(*[(0, n) for n in last]))
    for k in range(shape[2]):
        found += [(0, 0, k), (last[0], last[1], k)]
    for parts in ((1, 2, 3), (2, 5, 1), (3, 1, 5), (5, 3, 2), (4, 6, 4), (6, 4, 6)):
        found.append(tuple(n * part // 7 for n, part in zip(shape, parts)))  # noqa: B905
    return sorted(set(found))


def probe(image: Any, index: tuple) -> list:
    return list(index) + [float(c) for c in image.get_voxel_center(index)]


def fit_residual(probes: list, shape: list) -> tuple:
    """The largest distance of a probed centre to the affine through the far ends of the axes, and its index."""
    known = {tuple(p[:3]): p[3:] for p in probes}
    origin = known[(0, 0, 0)]
    axes = []
    for a in range(3):
        end = [0, 0, 0]
        end[a] = shape[a] - 1
        steps = max(shape[a] - 1, 1)
        axes.append([(e - o) / steps for e, o in zip(known[tuple(end)], origin)])  # noqa: B905
    worst, where = 0.0, [0, 0, 0]
    for p in probes:
        model = [origin[c] + sum(p[a] * axes[a][c] for a in range(3)) for c in range(3)]
        distance = sum((p[3 + c] - model[c]) ** 2 for c in range(3)) ** 0.5
        if distance > worst:
            worst, where = distance, p[:3]
    return worst, where


def outcome(passed: Any, checked: int, detail: str) -> dict:
    """passed: True, False, or None where the test could not tell."""
    return {"passed": passed, "checked": checked, "detail": detail}


def round_trip_test(image: Any, probes: list) -> dict:
    """get_voxel_indexes must give back the index whose centre it is handed."""
    if not hasattr(image, "get_voxel_indexes"):
        return outcome(None, 0, "this Mimics has no get_voxel_indexes")
    for p in probes:
        try:
            back = [int(n) for n in image.get_voxel_indexes(tuple(p[3:]))]
        except ValueError as error:
            back = ["outside the image: %s" % error]  # type: ignore[list-item]
        if back != p[:3]:
            return outcome(False, len(probes), "the centre of voxel %s belongs to %s" % (p[:3], back))
    return outcome(True, len(probes), "every centre belongs to its own voxel")


def grey_value_test(image: Any, view: Any, shape: list) -> dict:
    """The grey value at a voxel's centre must be the buffer's at its index: that proves the order of the axes.

    It proves nothing on a uniform image, so every other order must be excluded by at least one voxel.
    """
    if not hasattr(image, "get_grey_value"):
        return outcome(None, 0, "this Mimics has no get_grey_value")
    pick = random.Random(1)
    others = {"%s reversed" % "xyz"[a]: reversed_axis(a, shape) for a in range(3) if shape[a] > 1}
    others.update({"%s and %s exchanged" % ("xyz"[a], "xyz"[b]): exchanged(a, b) for a, b in ((0, 1), (0, 2), (1, 2))})
    for _ in range(SAMPLES):
        index = tuple(pick.randrange(n) for n in shape)
        here = int(view[index])
        try:
            there = int(image.get_grey_value(image.get_voxel_center(index)))
        except ValueError as error:
            return outcome(False, SAMPLES, "no grey value at the centre of voxel %s: %s" % (list(index), error))
        if (here - there) % 65536:  # a signed and an unsigned reading of 16 bits are the same value
            said = "voxel %s holds %d, and the grey value at its centre is %d" % (list(index), here, there)
            return outcome(False, SAMPLES, said)
        for name in list(others):
            other = others[name](index)
            if any(n >= size for n, size in zip(other, shape)) or int(view[other]) != here:  # noqa: B905
                del others[name]
    if others:
        return outcome(None, SAMPLES, "the image is too uniform to exclude: " + ", ".join(sorted(others)))
    return outcome(True, SAMPLES, "grey values agree, and no other order of the axes does")


def reversed_axis(axis: int, shape: list) -> Any:
    return lambda index: tuple(shape[a] - 1 - n if a == axis else n for a, n in enumerate(index))


def exchanged(first: int, second: int) -> Any:
    order = [0, 1, 2]
    order[first], order[second] = second, first
    return lambda index: tuple(index[a] for a in order)


def tag_planes(image: Any, count: int, notes: list) -> tuple:
    """(whether the image set has DICOM tags, one dict of geometry tags per slice or frame)."""
    try:
        tags = image.get_dicom_tags()
    except Exception as error:
        notes.append("%s: the DICOM tags cannot be read (%s)." % (image.name, error))
        return None, []
    if not tags:
        return False, []
    if FRAME_GROUPS in tags:
        return True, frame_planes(tags)
    planes = []
    for index in range(count):
        try:
            planes.append(chosen_tags(image.get_dicom_tags(index), index))
        except Exception as error:
            notes.append("%s: no DICOM tags for slices from %d on (%s)." % (image.name, index, error))
            break
    return True, planes or [chosen_tags(tags, 0)]


def chosen_tags(tags: dict, index: int) -> dict:
    plane = {"index": index}  # type: dict
    for tag in GEOMETRY_TAGS:
        if tag in tags:
            plane["%04X,%04X" % tag] = str(tags[tag].value)
    return plane


def frame_planes(tags: dict) -> list:
    """The planes of a multi-frame object: its functional groups, each frame's own over the shared ones."""
    shared = sequence_items(tags.get(SHARED_GROUPS))
    planes = []
    for index, frame in enumerate(sequence_items(tags[FRAME_GROUPS])):
        plane = chosen_tags(tags, index)
        for group in [*shared, frame]:
            for sequence, tag in FRAME_TAGS:
                for item in sequence_items(group.get(sequence)):
                    if tag in item:
                        plane["%04X,%04X" % tag] = str(item[tag].value)
        planes.append(plane)
    return planes


def sequence_items(tag: Any) -> list:
    """The items of a sequence; `children` is one dict in the guide of 21 and a tuple of them in that of 25."""
    children = optional(tag, "children")
    if children is None:
        return []
    return [children] if isinstance(children, dict) else list(children)


# ---- File > Export > DICOM, clean and with one mask shown


def export_dicom(bundle: dict, folder: str, notes: list) -> None:
    """Export every image set once with everything hidden, and once per mask. A failure is noted; the masks are safe."""
    active = active_image()
    shown = [thing for thing in list(getattr(mimics.data, "objects", mimics.data.masks)) if is_shown(thing)]
    images = [record["_object"] for record in bundle["images"]]
    shown = [thing for thing in shown if not any(thing is image for image in images)]
    try:
        for thing in shown:
            thing.visible = False
        for record in bundle["images"]:
            if mimics.data.images.set_active(record["_object"]) is False:
                raise RuntimeError("image set %s cannot be made the active one" % record["name"])
            export_series(record, folder, "clean-%d" % (record["number"] + 1))
            for mask in bundle["masks"]:
                if mask["image"] == record["number"]:
                    mask["_object"].visible = True
                    export_series(mask, folder, mask["file"].split(".")[0])
                    mask["_object"].visible = False
    except Exception as error:
        notes.append("The DICOM export stopped: %s: %s" % (type(error).__name__, error))
        for record in bundle["images"] + bundle["masks"]:
            record.pop("dicom", None)
        remove(os.path.join(folder, "dicom"))
    finally:
        for mask in bundle["masks"]:
            mask["_object"].visible = False
        for thing in shown:
            thing.visible = True
        if active is not None:
            mimics.data.images.set_active(active)


def is_shown(thing: Any) -> bool:
    return not isinstance(thing, getattr(mimics, "ImageData", ())) and bool(optional(thing, "visible", False))


def export_series(record: dict, folder: str, name: str) -> None:
    path = os.path.join(folder, "dicom", name)
    os.makedirs(path)
    mimics.file.export_dicom(path, name + "-")
    if not os.listdir(path):
        raise RuntimeError("no files were written for %s" % record["name"])
    record["dicom"] = "dicom/" + name


# ---- what the person reads


def by(shape: Any) -> str:
    return " x ".join(str(n) for n in shape)


def report(bundle: dict, folder: str) -> str:
    words = {True: "passed", False: "FAILED", None: "could not tell"}
    lines = ["", "%s, Python %s" % (bundle["mimics"], bundle["python"])]
    for image in bundle["images"]:
        lines.append("Image set %s: %s voxels" % (image["name"], by(image["shape"])))
        fit = "  centres of %d voxels; the largest distance to an even grid is %.6f, at voxel %s"
        lines.append(fit % (len(image["probes"]), image["fit"]["residual"], image["fit"]["worst"]))
        for name, test in sorted(image["self_tests"].items()):
            lines.append("  test %s: %s (%s)" % (name.replace("_", " "), words[test["passed"]], test["detail"]))
        told = "  DICOM tags of %d slices; orientation %s, gantry tilt %s, oblique %s"
        info = image["information"]
        lines.append(told % (len(image["planes"]), info["orientation"], info["gantry_tilt"], info["obliqueness"]))
    for mask in bundle["masks"]:
        size = "EMPTY" if mask["voxels"] == 0 else "%s voxels" % mask["voxels"]
        where = bundle["images"][mask["image"]]["name"] + " (assumed: the active one)" * mask["image_assumed"]
        lines.append("Mask %s: %s, on %s, in %s" % (mask["name"], size, where, mask["file"]))
    lines += ["LEFT OUT: mask %s: %s" % (entry["name"], entry["why"]) for entry in bundle["left_out"]]
    lines += ["Note: " + note for note in bundle["notes"]]
    return "\n".join([*lines, "Written: " + folder, 'Next, outside Mimics: verimask convert "%s"' % folder])


# __name__ is not documented for every way of starting a script in Mimics, so only verimask's own import is excluded.
if not __name__.startswith("verimask."):
    main(list(getattr(sys, "argv", [""])[1:]))
