"""Spoil DICOM files by what they mean: elements, their VR, length, count and value, what places planes, UIDs, nesting, frames.

Rules:
- A third of all changes are made to every file of the input alike, as a wrong exporter does; the others to one.
- Files that are no DICOM, or are spoilt already beyond reading, are left as they are.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from random import Random

from tests.fuzz.elements import Element, deflated, elements, grown, inflated, is_dicom, replaced
from tests.fuzz.spoilt_files import Files, spoil_bytes

Change = Callable[[bytes, list[Element], Random], tuple[bytes, str]]
_VRS = (
    b"AE AS AT CS DA DS DT FL FD IS LO LT OB OD OF OL OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV ZZ \0\0".split(
        b" "
    )
)
_TEXT_NUMBERS = (
    *"0 -0 1 -1 nan inf -inf 1e308 -1e308 1e-308 1e400 0.1 -2.5 1e5 65536 2147483647 -2147483648 99999999999 1_0 0x10 ١".split(),
    *("", " ", "A", "1e", "--1", "1,5", "1.2.3", "NaN ", "1 2", "\\", "1\\2", "0\\0\\0\\0\\0\\0\\0", "\0", "9" * 400),
)
_TEXTS = (
    "", " ", "A", "A\\B", "\\", "\0", "\x1b[31mred", "\n\r\t", "../../x", "\xff\xfe", "9" * 70, "x" * 5000, "%s{0}", "ORIGINAL\\PRIMARY",
    "DERIVED\\SECONDARY\\MOSAIC", "MONOCHROME1", "MONOCHROME2", "RGB", "PALETTE COLOR", "YBR_FULL", "YBR_FULL_422", "BINARY",
    "FRACTIONAL", "LABELMAP", "POINT", "CLOSED_PLANAR", "HFP", "CT", "SEG", "RTSTRUCT", "01", "ISO_IR 192", "ISO 2022 IR 87",
    "\\ISO 2022 IR 149",
)  # fmt: skip
_NUMBERS = (0, 1, 2, 3, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 24, 31, 32, 33, 63, 64, 255, 256, 4096, 32767, 32768, 65535, 1 << 24,
            0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)  # fmt: skip
_FLOATS = (0.0, -0.0, 1.0, -1.0, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 5e-324, 1e30, 0.1)
_UIDS = (b"", b"1", b"0", b"1.2.3", b"1.2\\3.4", b".", b"1..2", b"-1", b"9" * 70, b"1." * 40, b"\xff", b"a.b")
_SYNTAXES = (
    *(b"1.2.840.10008.1.2" + end for end in (b"", b".1", b".2", b".1.99", b".5", b".1.98", b".7.1", b".8.1", b".999")),
    *(
        b"1.2.840.10008.1.2.4." + end
        for end in (b"50", b"51", b"57", b"70", b"80", b"81", b"90", b"91", b"92", b"100", b"201", b"202")
    ),
)
_CLASSES = (
    *(
        b"1.2.840.10008.5.1.4.1.1." + e
        for e in (b"2", b"2.1", b"4", b"4.1", b"7", b"7.1", b"7.2", b"7.3", b"66.4", b"66.7", b"481.3")
    ),
    *(b"1.2.840.10008.5.1.4.1.1." + e for e in (b"128", b"481.2", b"66.1", b"11.1", b"88.11", b"104.1", b"2.2")),
    b"1.2.840.10008.1.3.10",
)
# What places planes: position, orientation, spacings, thickness, location, tilt, and the same within functional groups.
_PLACE = {
    0x00200032,
    0x00200037,
    0x00280030,
    0x00180088,
    0x00180050,
    0x00201041,
    0x00181120,
    0x00181164,
    0x30060050,
    0x00200013,
    0x00280034,
}
# Sizes and kinds of pixels, frames and overlays; rescaling, padding, palettes.
_PIXELS = {
    0x00280002, 0x00280004, 0x00280006, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103,
    0x00280106, 0x00280107, 0x00280120, 0x00280121, 0x00281052, 0x00281053, 0x00281054, 0x60000010, 0x60000011, 0x60000050,
    0x60000100, 0x60000102, 0x60000040, 0x0062000E, 0x00620001, 0x0062000B, 0x00620004, 0x30060016, 0x30060046, 0x30060042,
}  # fmt: skip
_WANTED = (
    (0x00280008, b"IS"), (0x00280103, b"US"), (0x00280120, b"US"), (0x00281052, b"DS"), (0x00281053, b"DS"), (0x00280006, b"US"),
    (0x00080005, b"CS"), (0x00180088, b"DS"), (0x00280034, b"IS"), (0x00181164, b"DS"), (0x00281101, b"US"), (0x00281201, b"OW"),
    (0x7FE00001, b"OV"), (0x7FE00002, b"OV"), (0x7FE00008, b"OF"), (0x00080008, b"CS"), (0x00200052, b"UI"), (0x00282110, b"CS"),
    (0x00200100, b"IS"), (0x00200105, b"IS"), (0x00180081, b"DS"), (0x60000010, b"US"), (0x60003000, b"OW"), (0x00189306, b"FD"),
)  # fmt: skip
_TEXT_VRS = {b"AE", b"AS", b"CS", b"DA", b"DT", b"LO", b"LT", b"PN", b"SH", b"ST", b"TM", b"UC", b"UR", b"UT"}
_NUMBER_SIZES = {b"US": 2, b"SS": 2, b"UL": 4, b"SL": 4, b"AT": 4, b"OL": 4, b"SV": 8, b"UV": 8, b"OV": 8}


def _even(value: bytes, fill: bytes = b" ") -> bytes:
    return value + fill * (len(value) % 2)


def _text(text: str) -> bytes:
    return _even(text.encode("utf-8" if "١" in text else "latin-1"))


def odd_value(element: Element, old: bytes, rng: Random) -> bytes:
    """A value of the element's VR that a file may have and should not; where the VR is not known, by its tag and bytes."""
    vr = element.vr or _guessed(element, old)
    if vr in (b"DS", b"IS"):
        parts = old.rstrip(b" \0").split(b"\\")
        parts[rng.randrange(len(parts))] = _text(rng.choice(_TEXT_NUMBERS)).strip()
        return _even(b"\\".join(parts))
    if vr == b"UI":
        return _even(rng.choice(_UIDS), b"\0")
    if vr in _NUMBER_SIZES:
        size = _NUMBER_SIZES[vr]
        number = rng.choice(_NUMBERS) & (1 << 8 * size) - 1
        return number.to_bytes(size, "little" if element.endian == "<" else "big") + old[size:]
    if vr in (b"FL", b"FD", b"OF", b"OD"):
        kind = "f" if vr in (b"FL", b"OF") else "d"
        size, number = struct.calcsize(kind), rng.choice(_FLOATS)
        at = size * rng.randrange(max(1, len(old) // size))
        number = max(min(number, 3e38), -3e38) if kind == "f" and abs(number) < float("inf") else number
        return old[:at] + struct.pack(element.endian + kind, number) + old[at + size :]
    if vr in _TEXT_VRS:
        return _text(rng.choice(_TEXTS))
    return spoil_bytes(old, rng)[0]


def _guessed(element: Element, old: bytes) -> bytes:
    if element.tag in _PLACE:
        return b"DS"
    if element.tag in _PIXELS:
        return b"US" if len(old) == 2 else b"DS"
    return b"UI" if old[:4] == b"1.2." else b"CS"


def _name(element: Element) -> str:
    return f"({element.tag >> 16:04x},{element.tag & 0xFFFF:04x})"


def _pick(found: list[Element], rng: Random, tags: set[int] | None = None) -> Element | None:
    chosen = found if tags is None else [e for e in found if e.tag in tags]
    return rng.choice(chosen) if chosen else None


def _delete(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    element = _pick(found, rng)
    if element is None:
        return data, ""
    gone = data[: element.start] + data[element.end :]
    return grown(gone, element, element.start - element.end), f"{_name(element)} deleted"


def _double(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    element, at = _pick(found, rng), _pick(found, rng)
    if element is None or at is None:
        return data, ""
    twice = data[: at.start] + data[element.start : element.end] + data[at.start :]
    return grown(twice, at, element.end - element.start), f"{_name(element)} also before {_name(at)}"


def _swap(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    """Two elements that follow each other change places, or the values of two of one VR."""
    one, two = _pick(found, rng), _pick(found, rng)
    if one is None or two is None or one.end > two.start:
        return data, ""
    middle = data[one.end : two.start]
    swapped = data[: one.start] + data[two.start : two.end] + middle + data[one.start : one.end] + data[two.end :]
    return swapped, f"{_name(one)} and {_name(two)} changed places"


def _vr(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    element, vr = _pick([e for e in found if e.vr], rng), rng.choice(_VRS)
    if element is None:
        return data, ""
    return data[: element.start + 4] + vr + data[element.start + 6 :], f"VR of {_name(element)} is {vr!r}"


def _length(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    element = _pick(found, rng)
    if element is None:
        return data, ""
    at, size = element.length_at
    length = rng.choice(
        (
            0,
            1,
            2,
            0xFFFE,
            0xFFFF,
            0x10000,
            0x7FFFFFFF,
            0xFFFFFFFE,
            0xFFFFFFFF,
            len(data),
            element.end - element.value - 2,
        )
    )
    put = (length & (1 << 8 * size) - 1).to_bytes(size, "little" if element.endian == "<" else "big")
    return data[:at] + put + data[at + size :], f"length of {_name(element)} is {length}"


def _value_of(tags: set[int] | None) -> Change:
    def change(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
        element = _pick(found, rng, tags)
        if element is None:
            return data, ""
        value = odd_value(element, data[element.value : element.end], rng)
        return replaced(data, element, value), f"{_name(element)} is {value[:40]!r}"

    return change


def _count(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    """More or fewer values than belong there."""
    element = _pick([e for e in found if e.vr != b"SQ" and e.end - e.value < 4000], rng)
    if element is None:
        return data, ""
    old = data[element.value : element.end]
    if element.vr in _NUMBER_SIZES or element.vr in (b"FL", b"FD"):
        value = rng.choice((b"", old * 2, old * 20, old[: len(old) // 2]))
    else:
        parts = old.rstrip(b" \0").split(b"\\")
        value = rng.choice(
            (b"", b"\\".join(parts * 2), b"\\".join(parts[:-1]), b"\\".join(parts[1:]), b"\\".join(parts * 300))
        )
    value = _even(value)
    return replaced(data, element, value), f"{_name(element)} has {len(value)} bytes instead of {len(old)}"


def _insert(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    """An element that was not there, in its place, at the top of the data set."""
    tag, vr = rng.choice(_WANTED)
    top = [e for e in found if not e.around and e.tag >> 16 != 2]
    after = next((e for e in top if e.tag > tag), None)
    if after is None:
        return data, ""
    made = Element(tag, vr, 0, 0, 0, after.endian, ())
    value = _even(odd_value(made, b"\1\0" * 4, rng))[:65534]
    order, size = after.endian, len(value)
    head = struct.pack(order + "HH", tag >> 16, tag & 0xFFFF)
    if not after.vr:
        head += struct.pack(order + "I", size)
    elif vr in _NUMBER_SIZES.keys() - {b"OL", b"OV", b"SV", b"UV"} or vr not in (b"OB", b"OW", b"OF", b"OV"):
        head += vr + struct.pack(order + "H", size)
    else:
        head += vr + struct.pack(order + "HI", 0, size)
    return data[: after.start] + head + value + data[after.start :], f"({tag:08x}) {vr!r} put in: {value[:40]!r}"


def _uid_of_another(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    one, two = _pick([e for e in found if e.vr in (b"UI", b"")], rng), _pick([e for e in found if e.vr == b"UI"], rng)
    if one is None or two is None or (not one.vr and data[one.value : one.value + 4] != b"1.2."):
        return data, ""
    return replaced(data, one, data[two.value : two.end]), f"{_name(one)} is the UID of {_name(two)}"


def _known_uid(tags: set[int], known: tuple[bytes, ...]) -> Change:
    def change(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
        element, uid = _pick(found, rng, tags), rng.choice(known)
        if element is None:
            return data, ""
        return replaced(data, element, _even(uid, b"\0")), f"{_name(element)} is {uid.decode()}"

    return change


def _nest(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    """Sequences in sequences, many deep, of defined or undefined length, before some element."""
    at, depth = _pick([e for e in found if e.tag >> 16 != 2], rng), rng.choice((3, 30, 300, 1100, 5000))
    if at is None:
        return data, ""
    order, is_open = at.endian, depth > 1000 or rng.random() < 0.5
    tag, item = struct.pack(order + "HH", 0x0040, 0xA730), struct.pack(order + "HH", 0xFFFE, 0xE000)
    head = b"SQ\0\0" if at.vr else b""
    if is_open:
        all_ones = b"\xff" * 4
        inner = (tag + head + all_ones + item + all_ones) * depth
        ends = struct.pack(order + "HHI", 0xFFFE, 0xE00D, 0) + struct.pack(order + "HHI", 0xFFFE, 0xE0DD, 0)
        inner += ends * rng.choice((0, depth, depth))
    else:
        inner = b""
        for _ in range(depth):
            inner = item + struct.pack(order + "I", len(inner)) + inner
            inner = tag + head + struct.pack(order + "I", len(inner)) + inner
    new = data[: at.start] + inner + data[at.start :]
    return grown(new, at, len(inner)), f"{depth} sequences in each other before {_name(at)}"


def _pixel_bytes(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    element = _pick(found, rng, {0x7FE00010, 0x7FE00008, 0x7FE00009, 0x60003000})
    if element is None or element.end <= element.value:
        return data, ""
    value, words = spoil_bytes(data[element.value : element.end], rng)
    return replaced(data, element, value, carried=rng.random() < 0.8), f"pixel data: {words}"


def _preamble(data: bytes, found: list[Element], rng: Random) -> tuple[bytes, str]:
    """Without preamble, without meta information, or with bytes before them."""
    kind = rng.choice(("no preamble", "no meta information", "bytes before"))
    first = next((e.start for e in found if e.tag >> 16 != 2), 132)
    new = {"no preamble": data[132:], "no meta information": data[first:], "bytes before": b"\0" * 20 + data}[kind]
    return new, kind


_CHANGES: dict[str, Change] = {
    "delete": _delete,
    "double": _double,
    "swap": _swap,
    "vr": _vr,
    "length": _length,
    "value": _value_of(None),
    "place": _value_of(_PLACE),
    "pixels": _value_of(_PIXELS),
    "count": _count,
    "insert": _insert,
    "uid": _uid_of_another,
    "syntax": _known_uid({0x00020010}, _SYNTAXES),
    "class": _known_uid({0x00080016, 0x00020002}, _CLASSES),
    "nest": _nest,
    "pixel bytes": _pixel_bytes,
    "preamble": _preamble,
}


def _on_files(change: Change) -> Callable[[Files, Random], str]:
    """The change, made to one DICOM file or to all of them alike."""

    def operate(files: Files, rng: Random) -> str:
        names = sorted(name for name, content in files.items() if isinstance(content, bytes) and is_dicom(content))
        if not names:
            return ""
        chosen = names if rng.random() < 0.33 else [rng.choice(names)]
        same, said = rng.getrandbits(48), ""
        for name in chosen:
            content = files[name]
            assert isinstance(content, bytes)
            plain, was_deflated = inflated(content)
            new, words = change(plain, elements(plain), Random(same))
            files[name] = deflated(new) if was_deflated and is_dicom(new) else new
            said = said or (f"{name if len(chosen) == 1 else 'all files'}: {words}" if words else "")
        return said

    return operate


OPERATIONS: dict[str, Callable[[Files, Random], str]] = {
    f"dicom {name}": _on_files(change) for name, change in _CHANGES.items()
}
