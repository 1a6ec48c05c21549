"""Export the masks of the open Mimics project, with the place of their voxels, for verimask. Runs inside Mimics 21-27.

How to run it
- Mimics: Script > Run Script (or the Editor), this file. Or put it into a folder and add that folder with Scripting >
  Add Scripting Library: it becomes an entry of the menu. The result is a new folder "verimask-DATE-TIME" in your home
  folder, or the folder named in OUTPUT_FOLDER below.
- Command line: MimicsMedical.exe -b -r export_masks.py OUTDIR [--images] [--dicom] [NAME ...]
  OUTDIR must be new or empty. --images adds the grey values. --dicom adds what File > Export > DICOM writes: the series
  without masks, and one series per mask with only that mask shown. NAME: only the masks of that name.
- Many projects: MimicsMedical.exe -b -r export_masks.py OUTDIR --projects FOLDER [--images] [--dicom] [NAME ...]
  Every .mcs file of FOLDER is opened in turn, one Mimics at a time, and exported to a folder of its own in OUTDIR. What
  is there from an earlier run is passed over, so that the same line runs again only what failed. Nothing is saved.
- Then, outside Mimics: verimask convert OUTDIR

Rules
- One file, however long: a person copies it to the machine that has Mimics, and nothing beside it is needed.
- Python 3.5 and its standard library only: that is what Mimics 21 brings. No numpy.
- Nothing in the project is changed. What --dicom hides is shown again, whatever happens.
- A mask or an image set that fails is left out, by name and with the reason; the others are exported all the same, also
  when the export is stopped in the middle.
- Everything runs on the thread that Mimics runs the script on: its buffers can be asked for on no other.
- No patient attribute is written: only the DICOM attributes of GEOMETRY_TAGS, and the names of masks and image sets.
- A voxel's place is what Mimics itself says of it (get_voxel_center), asked at the corners, on every plane and inside.
- What a console cannot print is printed with "?" in its place; bundle.json holds every name as it is.
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
    folder, projects, flags, names = parse(arguments)
    if projects is None:
        public = export_project(folder, flags, names)
        say(report(public, folder))
    else:
        export_projects(folder, projects, flags, names)


def export_project(folder: str, flags: list, names: list) -> dict:
    """Export the open project into a new or empty folder; what is in bundle.json.

    Raises ValueError where nothing can be exported, and what stopped the export; what was whole by then is a bundle.
    """
    notes = []  # type: list
    masks = chosen_masks(names, notes)
    open_folder(folder)
    bundle = new_bundle(notes)
    try:
        try:
            with quiet_gui():
                collect(bundle, masks, folder, "--images" in flags)
                if "--dicom" in flags:
                    export_dicom(bundle, folder, notes)
        except BaseException as error:  # the user's interrupt, for one
            notes.append("The export was stopped by %s." % words_of(error))
            if bundle["masks"]:
                leave_out_the_rest(bundle, masks, error)
                write_bundle(bundle, folder)
                say("Stopped. %d masks are whole, and were kept in %s." % (len(bundle["masks"]), folder))
            raise
        return write_bundle(bundle, folder)
    except BaseException:
        if not os.path.isfile(os.path.join(folder, "bundle.json")):
            for name in os.listdir(folder):  # it was empty before
                remove(os.path.join(folder, name))
            say("Nothing was exported: the folder %s was emptied again." % folder)
        raise


def write_bundle(bundle: dict, folder: str) -> dict:
    """Write bundle.json in one step; its content."""
    public = without_objects(bundle)
    part = os.path.join(folder, "bundle.json.part")
    with open(part, "w", encoding="utf-8") as file:
        file.write(json.dumps(public, indent=1, sort_keys=True))
    os.replace(part, os.path.join(folder, "bundle.json"))
    return public


def parse(arguments: list) -> tuple:
    """(folder, folder of projects or None, flags, names). Raises ValueError for an unknown option."""
    words, projects = list(arguments), None
    if "--projects" in words:
        at = words.index("--projects")
        if at + 1 == len(words) or words[at + 1].startswith("--"):
            raise ValueError("--projects wants the folder that holds the .mcs files after it.")
        projects = os.path.abspath(words[at + 1])
        del words[at : at + 2]
    flags = [a for a in words if a.startswith("--")]
    unknown = [f for f in flags if f not in ("--images", "--dicom")]
    if unknown:
        raise ValueError(printable("Unknown option %s. Known: --images --dicom --projects" % ", ".join(unknown)))
    words = [a for a in words if not a.startswith("--")]
    default = os.path.join(os.path.expanduser("~"), time.strftime("verimask-%Y%m%d-%H%M%S"))
    folder = words[0] if words else OUTPUT_FOLDER or default
    return os.path.abspath(folder), projects, flags, words[1:]


# ---- many projects, one after the other


def export_projects(folder: str, projects: str, flags: list, names: list) -> None:
    """Export every project of a folder, each into a folder of its name; say in the end what became of each."""
    found = sorted(name for name in os.listdir(projects) if name.lower().endswith(".mcs"))
    if not found:
        raise ValueError(printable("There is no .mcs file in %s." % projects))
    lines, failed = [], 0
    for number, name in enumerate(found):
        target = os.path.join(folder, os.path.splitext(name)[0])
        if os.path.isfile(os.path.join(target, "bundle.json")):
            lines.append("%s: exported before, passed over" % name)
            continue
        say("Project %d of %d: %s" % (number + 1, len(found), name))
        try:
            lines.append("%s: %s" % (name, export_one(os.path.join(projects, name), target, flags, names)))
        except Exception as error:
            if is_interrupt(error):
                raise
            failed += 1
            lines.append("%s: FAILED: %s" % (name, words_of(error)))
    say("\n".join(["", *lines, "%d of %d projects failed." % (failed, len(found))]))
    say('Next, outside Mimics: verimask convert "%s"' % folder)


def export_one(project: str, target: str, flags: list, names: list) -> str:
    """Open a project and export it. It has its folder when it is whole; what a stop left over lies in NAME.part."""
    part = target + ".part"
    remove(part)  # of a run that was stopped
    try:
        mimics.file.open_project(project, read_only_mode=True)  # from Mimics 25 on
    except TypeError:
        mimics.file.open_project(project)
    try:
        public = export_project(part, flags, names)
        say(report(public, target))
        os.rename(part, target)
    finally:
        with contextlib.suppress(OSError):
            os.rmdir(part)  # only where nothing is in it
        close = getattr(mimics.file, "close_project", None)
        if close is not None:
            close()
    return "%d masks, %d left out" % (len(public["masks"]), len(public["left_out"]))


# ---- folders, the console, and what differs between versions


def open_folder(folder: str) -> None:
    if os.path.isfile(folder) or (os.path.isdir(folder) and os.listdir(folder)):
        raise ValueError(printable("%s is not an empty folder. Name a new one; nothing was exported." % folder))
    if not os.path.isdir(folder):
        os.makedirs(folder)


def remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.exists(path):
        os.remove(path)


def printable(text: str) -> str:
    """The text with "?" for every character that the console's encoding has not."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    try:
        return text.encode(encoding, "replace").decode(encoding)
    except LookupError:
        return text.encode("ascii", "replace").decode("ascii")


def say(text: str) -> None:
    """Print it. A console that cannot print costs no mask."""
    with contextlib.suppress(Exception):
        print(printable(text))


def words_of(error: BaseException) -> str:
    return printable("%s: %s" % (type(error).__name__, error))


def is_interrupt(error: BaseException) -> bool:
    """Whether the user wants it to end. Mimics 25 has an exception of its own for that."""
    return not isinstance(error, Exception) or type(error).__name__ == "UserInterrupted"


def three(answer: Any) -> list:
    """Three numbers of a point, which is a sequence or has x, y and z."""
    return [answer.x, answer.y, answer.z] if hasattr(answer, "x") else list(answer)


def ask(method: Any, point: Any) -> Any:
    """What a method says of a point; versions want it as a tuple, as a list, or as three numbers."""
    refused = None
    for given in ((tuple(point),), (list(point),), tuple(point)):
        try:
            return method(*given)
        except TypeError as error:
            refused = refused or error
    raise refused  # type: ignore[misc]


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
    called = [name_of(mask) for mask in masks]
    missing = [name for name in names if name not in called]
    if missing or not masks:
        said = "No mask is called %s." % ", ".join(missing) if missing else "The project has no masks."
        raise ValueError(printable("%s There are: %s" % (said, ", ".join(called) or "none")))
    chosen = [mask for mask in masks if not names or name_of(mask) in names]
    for name in sorted({name_of(mask) for mask in chosen}):
        count = sum(name_of(mask) == name for mask in chosen)
        if count > 1:
            notes.append("%d masks are called %r; each is exported under its own number and guid." % (count, name))
    return chosen


def name_of(thing: Any) -> str:
    return str(optional(thing, "name", ""))


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


def new_bundle(notes: list) -> dict:
    """A bundle that holds nothing yet. Its records will hold their Mimics object under "_object"."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "mimics": str(mimics.get_version()) if hasattr(mimics, "get_version") else None,
        "python": sys.version.split()[0],
        "byte_order": sys.byteorder,
        "images": [],
        "masks": [],
        "left_out": [],
        "notes": notes,
        "_failed_images": [],
    }


def collect(bundle: dict, masks: list, folder: str, with_images: bool) -> None:
    """Export every mask into the bundle. One that fails is left out, with the reason."""
    for number, mask in enumerate(masks):
        say("Mask %d of %d: %s" % (number + 1, len(masks), name_of(mask)))
        stem = "mask-%03d" % (len(bundle["masks"]) + 1)
        try:
            why = add_mask(bundle, mask, stem, folder, with_images)
        except BaseException as error:
            remove(os.path.join(folder, stem + ".raw.gz"))
            if is_interrupt(error):
                raise
            why = "it failed with %s: %s" % (type(error).__name__, error)
        if why:
            bundle["left_out"].append({"name": name_of(mask), "why": why})
    if not bundle["masks"]:
        why = "; ".join("%(name)s: %(why)s" % m for m in bundle["left_out"])
        raise ValueError(printable("No mask can be exported. " + why))


def add_mask(bundle: dict, mask: Any, stem: str, folder: str, with_images: bool) -> str:
    """Export one mask into the bundle; why it was left out, or nothing."""
    view = mask.get_voxel_buffer()
    image, assumed = mask.image, False
    if image is None:
        image, assumed = active_image(), True
    record = None if image is None else image_record(image, bundle, folder, with_images)
    if record is None or record["shape"] != list(view.shape):
        owner = "the active image set (the mask has none of its own)" if assumed else "its image set"
        size = "nothing" if record is None else by(record["shape"])
        return "the mask has %s voxels, and %s has %s" % (by(view.shape), owner, size)
    entry = mask_record(mask, view, stem, folder)
    entry.update({"image": record["number"], "image_assumed": assumed})
    bundle["masks"].append(entry)
    return ""


def leave_out_the_rest(bundle: dict, masks: list, error: BaseException) -> None:
    """Name the masks that were not come to."""
    reached = len(bundle["masks"]) + len(bundle["left_out"])
    for mask in masks[reached:]:
        bundle["left_out"].append({"name": name_of(mask), "why": "the export was stopped by %s" % type(error).__name__})


def without_objects(bundle: dict) -> dict:
    public = {key: value for key, value in bundle.items() if not key.startswith("_")}
    for key in ("images", "masks"):
        public[key] = [{k: v for k, v in record.items() if k != "_object"} for record in bundle[key]]
    return public


# ---- masks


def mask_record(mask: Any, view: Any, stem: str, folder: str) -> dict:
    record = {
        "name": name_of(mask),
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


def image_record(image: Any, bundle: dict, folder: str, with_buffer: bool) -> dict:
    """The record of an image set, made when it is first met. Raises RuntimeError where it failed, each time it is met."""
    guid = str(optional(image, "guid", ""))
    for record in bundle["images"] + bundle["_failed_images"]:
        if record["_object"] is image or (guid and record["guid"] == guid):
            if "why" in record:
                raise RuntimeError(record["why"])
            return record  # type: ignore[no-any-return]
    stem = "image-%d" % (len(bundle["images"]) + 1)
    try:
        record = new_image_record(image, len(bundle["images"]), bundle["notes"])
        if with_buffer:
            view = image.get_voxel_buffer()
            record["buffer"] = write_buffer(view, view.tobytes(), stem, folder)
    except BaseException as error:
        remove(os.path.join(folder, stem + ".raw.gz"))
        if is_interrupt(error):
            raise
        why = "the image set %s failed with %s: %s" % (name_of(image), type(error).__name__, error)
        bundle["_failed_images"].append({"_object": image, "guid": guid, "why": why})
        raise RuntimeError(why)  # noqa: B904  (Python 3.5 in Mimics prints both, and the first is in the words)
    bundle["images"].append(record)
    return record


def new_image_record(image: Any, number: int, notes: list) -> dict:
    """Everything of an image set but its grey values."""
    view = image.get_voxel_buffer()
    shape = [int(n) for n in view.shape]
    probes = [probe(image, index) for index in probe_indexes(shape)]
    information = image.get_image_information() if hasattr(image, "get_image_information") else None
    tags, planes = tag_planes(image, shape[2], notes)
    residual, worst = fit_residual(probes, shape)
    return {
        "number": number,
        "name": name_of(image),
        "guid": str(optional(image, "guid", "")),
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
    return list(index) + [float(c) for c in three(ask(image.get_voxel_center, index))]


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
            back = [int(n) for n in three(ask(image.get_voxel_indexes, p[3:]))]
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
            there = int(ask(image.get_grey_value, three(ask(image.get_voxel_center, index))))
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
        notes.append("%s: the DICOM tags cannot be read (%s)." % (name_of(image), error))
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
            notes.append("%s: no DICOM tags for slices from %d on (%s)." % (name_of(image), index, error))
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
    """Export every image set once with everything hidden, and once per mask. A series that fails is noted and left out."""
    active = active_image()
    shown = [thing for thing in list(getattr(mimics.data, "objects", mimics.data.masks)) if is_shown(thing)]
    images = [record["_object"] for record in bundle["images"]]
    shown = [thing for thing in shown if not any(thing is image for image in images)]
    try:
        for thing in shown:
            thing.visible = False
        for record in bundle["images"]:
            if export_series(record, None, folder, "clean-%d" % (record["number"] + 1), notes):
                for mask in bundle["masks"]:
                    if mask["image"] == record["number"]:
                        export_series(record, mask, folder, mask["file"].split(".")[0], notes)
    except Exception as error:
        if is_interrupt(error):
            raise
        notes.append("The DICOM export stopped: %s: %s" % (type(error).__name__, error))
    finally:
        for mask in bundle["masks"]:
            set_visible(mask["_object"], False)
        for thing in shown:
            set_visible(thing, True)
        if active is not None:
            mimics.data.images.set_active(active)
        with contextlib.suppress(OSError):
            os.rmdir(os.path.join(folder, "dicom"))  # only where nothing was exported into it


def set_visible(thing: Any, visible: bool) -> None:
    """Show or hide it; one that refuses keeps no other from its turn."""
    with contextlib.suppress(Exception):
        thing.visible = visible


def is_shown(thing: Any) -> bool:
    return not isinstance(thing, getattr(mimics, "ImageData", ())) and bool(optional(thing, "visible", False))


def export_series(image: dict, mask: Any, folder: str, name: str, notes: list) -> bool:
    """Export an image set, with one mask shown or none; whether that worked. What failed leaves no files."""
    path, record = os.path.join(folder, "dicom", name), mask or image
    try:
        os.makedirs(path)
        if mimics.data.images.set_active(image["_object"]) is False:
            raise RuntimeError("image set %s cannot be made the active one" % image["name"])
        if mask is not None:
            mask["_object"].visible = True
        mimics.file.export_dicom(path, name + "-")
        if not os.listdir(path):
            raise RuntimeError("no files were written")
    except BaseException as error:
        remove(path)
        if is_interrupt(error):
            raise
        words = "The DICOM export of %s failed: %s: %s"
        notes.append(words % (record["name"], type(error).__name__, error))
        return False
    finally:
        if mask is not None:
            mask["_object"].visible = False
    record["dicom"] = "dicom/" + name
    return True


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
    lines.append("%d masks exported, %d left out." % (len(bundle["masks"]), len(bundle["left_out"])))
    return "\n".join([*lines, "Written: " + folder, 'Next, outside Mimics: verimask convert "%s"' % folder])


# __name__ is not documented for every way of starting a script in Mimics, so only verimask's own import is excluded.
if not __name__.startswith("verimask."):
    main(list(getattr(sys, "argv", [""])[1:]))
