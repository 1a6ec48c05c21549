"""Create masks in the open Mimics project from a folder that `verimask to-mimics` wrote. Runs inside Mimics 21-27.

How to run it
- Command line: MimicsMedical.exe -r import_masks.py FOLDER [--replace]
- Or write the folder into IMPORT_FOLDER below and run this file with Script > Run Script.
  Without --replace every mask is new, and gets " (2)" after its name where the name is taken. With --replace the one
  mask of that name on the image set is overwritten. Save the project yourself.

Rules
- Python 3.5 and its standard library only. No numpy.
- The image set is the one the folder was made for: by guid, or by name where guids are not kept; of the same size, with
  the same voxel centres to 0.001. Otherwise nothing is changed.
- What was set is read back from Mimics and compared. A new mask that differs is deleted again, and an old one is as it was.
- A mask that fails keeps no other from being set; those that failed are named in the end.
- What a console cannot print is printed with "?" in its place.
"""
# ruff: noqa: UP031
# mypy: disallow-any-generics=False

import contextlib
import gzip
import hashlib
import json
import os
import sys
from typing import Any

import mimics  # type: ignore[import-not-found]

IMPORT_FOLDER = ""  # for example r"C:\Users\me\masks-for-mimics"
REPLACE = False

FORMAT = "verimask-mimics-import"
VERSION = 1
LIMIT = 1e-3  # in the project's units


def main(arguments: list) -> None:
    unknown = [a for a in arguments if a.startswith("--") and a != "--replace"]
    folders = [a for a in arguments if not a.startswith("--")] or [IMPORT_FOLDER]
    if unknown or len(folders) != 1 or not folders[0]:
        raise ValueError("Give one folder written by verimask to-mimics, and nothing else but --replace.")
    replace = REPLACE or "--replace" in arguments
    with open(os.path.join(folders[0], "import.json"), encoding="utf-8") as file:
        content = json.load(file)
    if content.get("format") != FORMAT or content.get("version") != VERSION:
        raise ValueError("%s is not a folder of verimask to-mimics, version %d." % (folders[0], VERSION))
    image = find_image(content["image"])
    shape = content["image"]["shape"]
    loaded = [(record, load(folders[0], record, shape)) for record in content["masks"]]  # all, before anything changes
    active = mimics.data.images.get_active()
    try:
        if mimics.data.images.set_active(image) is False:
            raise RuntimeError(printable("Image set %s cannot be made active; nothing was changed." % image.name))
        failed = [words for words in (put_one(record, data, shape, image, replace) for record, data in loaded) if words]
    finally:
        if active is not None:
            mimics.data.images.set_active(active)
    say("Done: %d masks set, %d failed. The project is not saved yet." % (len(loaded) - len(failed), len(failed)))
    if failed:
        raise RuntimeError(printable("; ".join(failed)))


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


def centre_of(image: Any, index: list) -> list:
    """The centre of a voxel; versions want the index as a tuple, as a list, or as three numbers, and may answer with .x."""
    refused = None
    for given in ((tuple(index),), (list(index),), tuple(index)):
        try:
            answer = image.get_voxel_center(*given)
            return [answer.x, answer.y, answer.z] if hasattr(answer, "x") else list(answer)
        except TypeError as error:
            refused = refused or error
    raise refused  # type: ignore[misc]


def find_image(wanted: dict) -> Any:
    """The image set the masks were made for, checked for size and place."""
    images = list(mimics.data.images)
    found = [i for i in images if wanted["guid"] and str(getattr(i, "guid", "")) == wanted["guid"]]
    found = found or [i for i in images if str(i.name) == wanted["name"]]
    if len(found) != 1:
        said = "%d image sets are called %s" % (len(found), wanted["name"])
        there = ", ".join(str(i.name) for i in images)
        raise ValueError(printable("%s. There are: %s. Nothing was changed." % (said, there)))
    image = found[0]
    shape = list(image.get_voxel_buffer().shape)
    if shape != wanted["shape"]:
        said = "Image set %s has %s voxels, and the masks have %s. Nothing was changed."
        raise ValueError(printable(said % (image.name, shape, wanted["shape"])))
    for probe in wanted["probes"]:
        centre = centre_of(image, probe[:3])
        off = max(abs(float(c) - p) for c, p in zip(centre, probe[3:]))  # noqa: B905
        if off > LIMIT:
            said = "Image set %s has moved since its bundle was exported: voxel %s by %.4f. Nothing was changed."
            raise ValueError(printable(said % (image.name, probe[:3], off)))
    return image


def load(folder: str, record: dict, shape: list) -> bytes:
    with gzip.open(os.path.join(folder, record["file"])) as file:
        data = file.read()
    if len(data) != shape[0] * shape[1] * shape[2] or hashlib.sha256(data).hexdigest() != record["sha256"]:
        raise ValueError("%s is not the file that was written. Nothing was changed." % record["file"])
    return bytes(data)


def put_one(record: dict, data: bytes, shape: list, image: Any, replace: bool) -> str:
    """Set one mask; why that failed, or nothing."""
    try:
        put(record, data, shape, image, replace)
    except Exception as error:
        if type(error).__name__ == "UserInterrupted":  # of Mimics 25: the user wants it to end
            raise
        say("%s: FAILED: %s" % (record["name"], error))
        return "%s: %s: %s" % (record["name"], type(error).__name__, error)
    return ""


def put(record: dict, data: bytes, shape: list, image: Any, replace: bool) -> None:
    """One mask, created or overwritten, and read back."""
    same = [m for m in mimics.data.masks if str(m.name) == record["name"] and m.image is not None]
    same = [m for m in same if is_same(m.image, image)]
    if replace and len(same) > 1:
        raise ValueError("%d masks are called %s on this image set; rename one." % (len(same), record["name"]))
    old = same[0] if replace and same else None
    before = None if old is None else old.get_voxel_buffer()
    mask = mimics.segment.create_mask() if old is None else old
    try:
        if mask.image is not None and not is_same(mask.image, image):
            raise RuntimeError("A new mask does not belong to image set %s although that is active." % image.name)
        mask.set_voxel_buffer(memoryview(bytearray(data)).cast("?", shape=shape))
        back = mask.get_voxel_buffer()
        if list(back.shape) != shape or back.tobytes() != data:
            raise RuntimeError("Mimics holds other voxels in %s than it was given." % record["name"])
        if old is None:
            mask.name = free_name(record["name"], mask)
            mask.color = tuple(record["color"])
    except BaseException:
        if old is None:
            mimics.data.masks.delete(mask)
        else:
            old.set_voxel_buffer(before)
        raise
    say("%s: %d voxels, %s" % (mask.name, record["voxels"], "new" if old is None else "replaced"))


def is_same(one: Any, other: Any) -> bool:
    """Whether two objects are one in Mimics: it may hand out a new Python object at every call."""
    guids = getattr(one, "guid", None), getattr(other, "guid", None)
    return one is other or (guids[0] is not None and guids[0] == guids[1])


def free_name(name: str, mask: Any) -> str:
    taken = {str(m.name) for m in mimics.data.masks if m is not mask}
    number, free = 2, name
    while free in taken:
        free, number = "%s (%d)" % (name, number), number + 1
    return free


# __name__ is not documented for every way of starting a script in Mimics, so only verimask's own import is excluded.
if not __name__.startswith("verimask."):
    main(list(getattr(sys, "argv", [""])[1:]))
