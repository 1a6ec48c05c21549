"""A stand-in for the `mimics` module: its names, types and errors as far as they are publicly known, and its oddities.

Rules:
- Standard library only, Python 3.6: it runs where the scripts run. pydicom is imported only when a series is exported.
- The truth is the source series: columns x rows x planes with a position for every plane. The buffer is what Mimics
  makes of it: reordered, reduced, with planes missing. `centre` is where Mimics says a voxel is: the truth, or not.
- Every voxel of the source has its own grey value, and the masks have no symmetry.

Run a script as Mimics would: FAKE_MIMICS='{"version": "25"}' python fake_mimics.py SCRIPT ARGUMENTS
With FAKE_MIMICS_STATE=FILE the masks left at the end are written there as JSON.
"""

# ruff: noqa: UP031, B905

import array
import itertools
import json
import math
import os
import runpy
import sys
import types

KNOBS = {
    "version": "25",
    "shape": [7, 6, 5],  # of the source: columns, rows, planes
    "spacing": [0.7, 0.7, 2.5],
    "origin": [-31.5, 12.25, -207.0],
    "row": [1.0, 0.0, 0.0],
    "column": [0.0, 1.0, 0.0],
    "step": None,  # direction from plane to plane; None: row x column
    "axes": [[0, 1], [1, 1], [2, 1]],  # buffer axis a runs along source axis axes[a][0], in direction axes[a][1]
    "noise": 0.0,  # mm, in every centre
    "extra": {},  # plane -> mm added along the step: an uneven series
    "dropped": [],  # planes of the source that Mimics left out
    "even_model": False,  # centres on an even grid although the planes are not
    "reduced": 1,
    "reduced_centred": True,  # False: centres stay at the first of the joined pixels
    "frame": "lps",  # lps | half_slice | corner | stl | moved
    "tag_scale": 1.0,  # Pixel Spacing as in the file, where the project was resampled
    "crop": None,  # [[first, last], ...] of the source kept by Reslice or Crop; the tags stay
    "tags": "slices",  # slices | series | none | error | multiframe | no positions
    "registered": False,
    "units": None,
    "grey_format": "H",
    "uniform": False,  # an image of one grey value
    "contiguous": True,
    "scrambled": False,  # the buffer in another order than the centres: must be caught
    "indexes_wrong": False,  # get_voxel_indexes gives its answer in the order z, y, x
    "images": 1,  # image sets; each has one plane fewer than the one before and lies 1.5 mm further left
    "mask_image": "own",  # own | none | other
    "names": ["bone", "tumour", "nothing"],
    "missing": [],  # attributes that image sets and masks do not have
    "export_style": "burned",  # burned | masked
    "export_class": "CT",  # CT | SC
    "export_fails": False,
    "center_asks": "any",  # tuple | list | three: how get_voxel_center wants its index
    "center_gives": "tuple",  # point: its answer has x, y and z
    "mask_fails": [],  # numbers of masks whose buffer cannot be had
    "mask_stops": [],  # numbers of masks at whose buffer the user stops the script
    "image_fails": [],  # numbers of image sets whose centres cannot be had
    "export_fails_at": [],  # words in the prefix of a DICOM export that fails
    "set_loses": False,  # set_voxel_buffer loses the last voxel that is set
}
VERSIONS = {"21": "Materialise Mimics Research 21.0.0.406", "25": "Materialise Mimics Medical 25.0.0.550"}
BURNED = 3000  # + number of the mask


def inside(number, i, j, k):
    """Whether the source voxel (column, row, plane) belongs to mask `number`: shapes no mirror maps to themselves."""
    if number == 0:
        return (i >= 2 and j <= 3 and k >= 1) and not (i == 4 and j == 1) and (i + 2 * j + 3 * k) % 4 != 0
    if number == 1:
        return (i, j, k) in ((1, 4, 0), (2, 4, 0), (1, 5, 0), (1, 4, 1), (5, 2, 3), (5, 2, 4))
    return False


def grey(i, j, k):
    return 1 + i + 9 * j + 81 * k


class UserInterrupted(Exception):
    """Mimics 25's own."""


class Missing:
    """Attributes listed under `missing` are not there."""

    def __getattribute__(self, name):
        if name in object.__getattribute__(self, "knobs")["missing"]:
            raise AttributeError(name)
        return object.__getattribute__(self, name)


class DicomTag:
    def __init__(self, value, vr="LO", children=None):
        self.value, self.vr, self.children = value, vr, children
        self.description, self.length = "", len(value or "")


class Information:
    pass


class ImageData(Missing):
    def __init__(self, knobs, number):
        self.knobs = knobs
        self.name, self.guid, self.visible = "phase %d" % number, "image-guid-%d" % number, True
        self._number = number
        columns, rows, planes = knobs["shape"]
        self._source_shape = (columns, rows, planes - number)
        self._shift = (1.5 * number, 0.0, 0.0)
        self._planes = [k for k in range(planes - number) if k not in knobs["dropped"]]
        row, column = knobs["row"], knobs["column"]
        normal = [row[a - 2] * column[a - 1] - row[a - 1] * column[a - 2] for a in range(3)]
        self._step = knobs["step"] or normal
        self._uses = self._voxels_used()
        self.logical_dimensions = self._shape
        self.physical_dimensions = self._shape
        self.pixel_size = array.array("f", [knobs["spacing"][0] * knobs["reduced"]])[0]
        self.logical_slice_distance = array.array("f", [knobs["spacing"][2]])[0]
        if knobs["version"] == "25":
            self.registration_transformation = object() if knobs["registered"] else None
            self.is_dicom_data_modified = False
        if knobs["units"]:
            self.units = knobs["units"]
        self._world = [(index, self._centre(index)) for index in itertools.product(*[range(n) for n in self._shape])]

    # the buffer: which source voxels make up each of its voxels

    def _voxels_used(self):
        """Per buffer axis, the source indices of each step: several where pixels were joined."""
        kept = [list(range(n)) for n in self._source_shape]
        kept[2] = self._planes
        if self.knobs["crop"]:
            kept = [[n for n in kept[a] if first <= n <= last] for a, (first, last) in enumerate(self.knobs["crop"])]
        n = self.knobs["reduced"]
        joined = [[kept[a][s : s + n] for s in range(0, len(kept[a]) // n * n, n)] for a in (0, 1)]
        joined.append([[k] for k in kept[2]])
        uses = [joined[axis][::sign] for axis, sign in self.knobs["axes"]]
        self._shape = tuple(len(u) for u in uses)
        return uses

    def _source(self, index):
        """The source voxels below a buffer voxel, as three lists: columns, rows, planes."""
        found = [None, None, None]
        for a, (axis, _) in enumerate(self.knobs["axes"]):
            found[axis] = self._uses[a][index[a]]
        return found

    def _buffer(self, value, typecode, view_format):
        """A memoryview (x, y, z), its last axis fastest."""
        values = [value(self._source(index)) for index in itertools.product(*[range(n) for n in self._shape])]
        if self.knobs["scrambled"]:
            values = values[1:] + values[:1]
        shape = list(self._shape)
        if not self.knobs["contiguous"]:  # every second block along x of a buffer twice as long
            block = len(values) // shape[0]
            padded = []
            for x in range(shape[0]):
                padded += values[x * block : (x + 1) * block] + [1] * block
            values, shape = padded, [2 * shape[0], *shape[1:]]
        raw = memoryview(bytearray(array.array(typecode, values).tobytes())).cast(view_format, shape=shape)
        return raw if self.knobs["contiguous"] else raw[::2]

    def _mean(self, source):
        if self.knobs["uniform"]:
            return 40
        all_of = [grey(i, j, k) for i in source[0] for j in source[1] for k in source[2]]
        return sum(all_of) // len(all_of) - (200 if self.knobs["grey_format"] == "h" else 0)

    def get_voxel_buffer(self):
        return self._buffer(self._mean, self.knobs["grey_format"], self.knobs["grey_format"])

    # where the voxels are, and where Mimics says they are

    def _along(self, plane):
        extra = self.knobs["extra"].get(str(plane), 0.0)
        return plane * self.knobs["spacing"][2] + extra

    def _true(self, column, row, along):
        """LPS mm of a fractional (column, row) and of mm along the step."""
        k, steps = self.knobs, (column * self.knobs["spacing"][0], row * self.knobs["spacing"][1])
        return [
            k["origin"][a] + self._shift[a] + k["row"][a] * steps[0] + k["column"][a] * steps[1] + self._step[a] * along
            for a in range(3)
        ]

    def _centre(self, index):
        columns, rows, planes = self._source(index)
        first = not self.knobs["reduced_centred"]
        column = columns[0] if first else sum(columns) / len(columns)
        row = rows[0] if first else sum(rows) / len(rows)
        along = self._along(planes[0])
        if self.knobs["even_model"]:
            start, place = self._along(self._planes[0]), self._planes.index(planes[0])
            along = start + place * self.knobs["spacing"][2]
        frame = self.knobs["frame"]
        if frame == "half_slice":
            along -= self.knobs["spacing"][2] / 2
        if frame == "corner":
            column, row = column - 0.5, row - 0.5
        if frame == "stl":
            return [(column + 0.5) * self.knobs["spacing"][0], (row + 0.5) * self.knobs["spacing"][1], along]
        point = self._true(column, row, along)
        if frame == "moved":
            angle = math.radians(11)
            x, y, z = point
            point = [math.cos(angle) * x - math.sin(angle) * y + 4, math.sin(angle) * x + math.cos(angle) * y, z - 9]
        return point

    def get_voxel_center(self, *index_of_voxel):
        if self._number in self.knobs["image_fails"]:
            raise RuntimeError("the image set %s is broken" % self.name)
        kind = type(index_of_voxel[0]).__name__ if len(index_of_voxel) == 1 else "three"
        if self.knobs["center_asks"] not in ("any", kind):
            raise TypeError("get_voxel_center() wants something else than a %s" % kind)
        index = tuple(index_of_voxel if kind == "three" else index_of_voxel[0])
        if len(index) != 3 or any(not 0 <= n < size for n, size in zip(index, self._shape)):
            raise ValueError("index is out of the image")
        noise = self.knobs["noise"]
        jitter = [noise * math.sin(17.0 * index[0] + 5.0 * index[1] + 3.0 * index[2] + a) for a in range(3)]
        x, y, z = (c + n for c, n in zip(self._centre(index), jitter))
        return (x, y, z) if self.knobs["center_gives"] == "tuple" else types.SimpleNamespace(x=x, y=y, z=z)

    def get_voxel_indexes(self, point_coordinates):
        index, centre = min(self._world, key=lambda entry: _distance(entry[1], point_coordinates))
        if _distance(centre, point_coordinates) > max(self.knobs["spacing"]):
            raise ValueError("the point is outside of the image")
        return index[::-1] if self.knobs["indexes_wrong"] else index

    def get_grey_value(self, point_coordinates):
        index, _ = min(self._world, key=lambda entry: _distance(entry[1], point_coordinates))
        return self._mean(self._source(index))

    def get_image_information(self):
        information = Information()
        information.orientation, information.gantry_tilt, information.obliqueness = "RAB", 0.0, False
        information.slice_increment, information.pixel_units = "%.4f" % self.knobs["spacing"][2], "HU"
        information.patient_name, information.patient_id = "SECRET^NAME", "SECRET-ID"
        information.project_path = "C:\\SECRET\\project.mcs"
        return information

    # the tags: of the file as it was imported, whatever happened to the image since

    def _file_tags(self, plane):
        number = "%.10g"
        position = self._true(0, 0, self._along(plane))
        orientation = list(self.knobs["row"]) + list(self.knobs["column"])
        spacing = [
            self.knobs["spacing"][1] * self.knobs["tag_scale"],
            self.knobs["spacing"][0] * self.knobs["tag_scale"],
        ]
        tags = {
            (0x0008, 0x0018): DicomTag("1.2.826.0.1.3680043.9.9.%d.%d" % (self._number, plane + 1), "UI"),
            (0x0010, 0x0010): DicomTag("SECRET^NAME", "PN"),
            (0x0010, 0x0020): DicomTag("SECRET-ID"),
            (0x0020, 0x000E): DicomTag("1.2.826.0.1.3680043.9.7.%d" % self._number, "UI"),
            (0x0020, 0x0052): DicomTag("1.2.826.0.1.3680043.9.8", "UI"),
            (0x0020, 0x0032): DicomTag("\\".join(number % c for c in position), "DS"),
            (0x0020, 0x0037): DicomTag("\\".join(number % c for c in orientation), "DS"),
            (0x0028, 0x0030): DicomTag("\\".join(number % c for c in spacing), "DS"),
            (0x0028, 0x0010): DicomTag(str(self._source_shape[1]), "US"),
            (0x0028, 0x0011): DicomTag(str(self._source_shape[0]), "US"),
        }
        if self.knobs["tags"] == "no positions":
            del tags[0x0020, 0x0032], tags[0x0020, 0x0037]
        return tags

    def _multiframe_tags(self):
        groups = {
            (0x0020, 0x0032): (0x0020, 0x9113),
            (0x0020, 0x0037): (0x0020, 0x9116),
            (0x0028, 0x0030): (0x0028, 0x9110),
        }
        frames = []
        for plane in self._planes:
            tags = self._file_tags(plane)
            frames.append({groups[t]: DicomTag("", "SQ", ({t: tags[t]},)) for t in groups if t != (0x0028, 0x0030)})
        top = {t: tag for t, tag in self._file_tags(0).items() if t not in groups}
        shared = {groups[0x0028, 0x0030]: DicomTag("", "SQ", ({(0x0028, 0x0030): tags[0x0028, 0x0030]},))}
        top[0x5200, 0x9229] = DicomTag("", "SQ", shared)  # a dict, as in the guide of 21
        top[0x5200, 0x9230] = DicomTag("", "SQ", tuple(frames))
        return top

    def get_dicom_tags(self, image_index=None):
        style = self.knobs["tags"]
        if style == "none":
            return {}
        if style == "error":
            raise RuntimeError("the tags cannot be read")
        if style == "multiframe":
            return self._multiframe_tags()
        if style == "series" and image_index is not None:
            raise TypeError("get_dicom_tags() takes no arguments")
        return self._file_tags(self._planes[image_index or 0])


class Mask(Missing):
    def __init__(self, knobs, image, name, guid, number):
        self.knobs = knobs
        self.name, self.guid, self.visible, self.selected = name, guid, number == 0, False
        self.color = (0.25 * (number + 1) % 1, 0.5, 1.0)
        self._image, self._number, self._grid, self._data = image, number, image, None

    @property
    def image(self):
        return self._image

    @property
    def number_of_pixels(self):
        data = self._voxels().tobytes()
        return len(data) - data.count(b"\0")

    @property
    def average_value(self):
        raise ValueError("the mask is empty")

    def get_voxel_buffer(self):
        if self._number in self.knobs["mask_fails"]:
            raise RuntimeError("the mask %s is broken" % self.name)
        if self._number in self.knobs["mask_stops"]:
            raise UserInterrupted("stopped by the user")
        return self._voxels()

    def _voxels(self):
        if self._data is not None:
            return memoryview(bytearray(self._data)).cast("?", shape=list(self._grid._shape))
        number = self._number
        return self._grid._buffer(
            lambda s: int(
                sum(inside(number, i, j, k) for i in s[0] for j in s[1] for k in s[2]) * 2 > len(s[0]) * len(s[1])
            ),
            "b",
            "?",
        )

    def set_voxel_buffer(self, pixels):
        if tuple(pixels.shape) != tuple(self._grid._shape):
            raise ValueError("pixels do not have the mask region dimensions")
        if pixels.format != "?":
            raise TypeError("pixels are not bool")
        self._data = pixels.tobytes()
        if self.knobs["set_loses"]:
            self._data = b"\0".join(self._data.rsplit(b"\1", 1))


class Container:
    def __init__(self, things):
        self._things = things

    def __len__(self):
        return len(self._things)

    def __iter__(self):
        return iter(list(self._things))

    def __getitem__(self, key):
        if isinstance(key, int):
            return self._things[key]
        found = [t for t in self._things if t.name == key]
        if len(found) != 1:
            raise KeyError(key)
        return found[0]

    def find(self, name):
        return next((t for t in self._things if t.name == name), None)

    def delete(self, thing):
        self._things.remove(thing)


class Images(Container):
    def __init__(self, things, version):
        Container.__init__(self, things)
        self._active = things[-1] if len(things) > 1 else things[0]
        if version == "25":
            self.active = self._active

    def get_active(self):
        return self._active

    def set_active(self, image):
        self._active = image
        if hasattr(self, "active"):
            self.active = image
        return True


def build(**chosen):
    """A module that looks like `mimics` with this project open."""
    unknown = set(chosen) - set(KNOBS)
    if unknown:
        raise ValueError("no such knob: %s" % ", ".join(unknown))
    knobs = dict(KNOBS, **chosen)
    module = types.ModuleType("mimics")
    images = [ImageData(knobs, number) for number in range(knobs["images"])]
    masks = []
    for number, name in enumerate(knobs["names"]):
        for image in images:
            mask = Mask(knobs, image, name, "mask-guid-%d" % len(masks), number)
            if knobs["mask_image"] != "own":
                mask._image = None if knobs["mask_image"] == "none" else images[-1]
            masks.append(mask)
    part = types.SimpleNamespace(name="a part", visible=True)
    module.ImageData, module.Mask, module.DicomTag = ImageData, Mask, DicomTag
    module.data = types.SimpleNamespace(
        images=Images(images, knobs["version"]), masks=Container(masks), objects=images + masks + [part]
    )
    module.get_version = lambda: VERSIONS[knobs["version"]]
    module.calls = []
    module.disable_update_gui = lambda: module.calls.append("off")
    module.enable_update_gui = lambda: module.calls.append("on")

    def create_mask():
        mask = Mask(knobs, module.data.images.get_active(), "Mask %d" % len(masks), "mask-guid-%d" % len(masks), 99)
        mask._data = bytes(len(mask._grid._world))
        masks.append(mask)
        return mask

    module.segment = types.SimpleNamespace(create_mask=create_mask)
    module.file = types.SimpleNamespace(
        export_dicom=lambda path, filename_prefix: _export(module, knobs, path, filename_prefix),
        open_project=_open_25 if knobs["version"] == "25" else _open_21,
        close_project=lambda: module.calls.append("close"),
    )
    return module


def _open_21(filename):
    """A project file of the stand-in is its knobs as JSON; what is open is what it builds."""
    with open(filename) as file:
        opened = build(**json.load(file))
    sys.modules["mimics"].data = opened.data


def _open_25(filename, read_only_mode=False):
    _open_21(filename)


def _export(module, knobs, path, prefix):
    """What File > Export > DICOM writes: the source planes of the active image, with the visible masks in the pixels."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian

    if knobs["export_fails"] or any(word in prefix for word in knobs["export_fails_at"]):
        raise RuntimeError("no licence for this export")
    image = module.data.images.get_active()
    shown = [m for m in module.data.masks if m.visible and m._grid is image]
    columns, rows, _ = image._source_shape
    for place, plane in enumerate(image._planes):
        values = array.array("H")
        for j, i in itertools.product(range(rows), range(columns)):
            value = grey(i, j, plane)
            hits = [m._number for m in shown if inside(m._number, i, j, plane)]
            if knobs["export_style"] == "burned" and hits:
                value = BURNED + hits[-1]
            if knobs["export_style"] == "masked" and shown and not hits:
                value = 0
            values.append(value)
        data = Dataset()
        secondary = knobs["export_class"] == "SC"
        data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.7" if secondary else "1.2.840.10008.5.1.4.1.1.2"
        tags = image._file_tags(plane)
        data.SOPInstanceUID = tags[0x0008, 0x0018].value + ".%d" % (1 + sum(ord(c) for c in prefix))
        data.SeriesInstanceUID = tags[0x0020, 0x000E].value + ".%d" % (1 + sum(ord(c) for c in prefix))
        data.StudyInstanceUID, data.Modality, data.InstanceNumber = "1.2.826.0.1.3680043.9.6", "CT", place + 1
        data.FrameOfReferenceUID = tags[0x0020, 0x0052].value
        if not secondary:
            data.ImagePositionPatient = tags[0x0020, 0x0032].value.split("\\")
            data.ImageOrientationPatient = tags[0x0020, 0x0037].value.split("\\")
            data.PixelSpacing = tags[0x0028, 0x0030].value.split("\\")
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = rows, columns, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = values.tobytes()
        data.file_meta = FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = (
            data.SOPClassUID,
            data.SOPInstanceUID,
        )
        data.save_as(os.path.join(path, "%s%d" % (prefix, place)), enforce_file_format=True)


def _distance(a, b):
    return math.sqrt(sum((p - q) ** 2 for p, q in zip(a, b)))


def _state(module):
    """What is left in the project when the script has ended."""
    return {
        "masks": [
            {
                "name": m.name,
                "color": list(getattr(m, "color", ())),
                "visible": m.visible,
                "image": m.image._number if m.image else None,
                "shape": list(m._grid._shape),
                "data": m._voxels().tobytes().hex(),
            }
            for m in module.data.masks
        ],
        "shown": [thing.name for thing in module.data.objects if thing.visible],
        "active": module.data.images.get_active()._number,
        "calls": module.calls,
    }


def run_inside(script, arguments, knobs):
    """Run a script as `-r SCRIPT ARGUMENTS` does, with a fake project open. Returns the state it leaves."""
    before, module = (list(sys.argv), sys.modules.get("mimics")), build(**knobs)
    sys.modules["mimics"], sys.argv = module, [str(script), *arguments]
    try:
        runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv = before[0]
        sys.modules.pop("mimics")
        if before[1] is not None:
            sys.modules["mimics"] = before[1]
        module.left = _state(module)
        if os.environ.get("FAKE_MIMICS_STATE"):
            with open(os.environ["FAKE_MIMICS_STATE"], "w") as file:
                json.dump(module.left, file)
    return module.left


if __name__ == "__main__":
    run_inside(sys.argv[1], sys.argv[2:], json.loads(os.environ.get("FAKE_MIMICS", "{}")))
