"""The fast header reader against pydicom's path: the same header, or it gives up. Never another answer.

Files are written byte by byte here, so that a test decides every length and every padding byte itself.
`VERIMASK_EXAMPLES=5000` makes the generated and damaged files many.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from struct import pack
from typing import Any

import pytest

from pipeline.dicom import fast_header, header
from pipeline.pacs import receiver_store
from tests.helpers.cases import has_samples, samples_folder

EXAMPLES = int(os.environ.get("VERIMASK_EXAMPLES", "50"))

EXPLICIT, IMPLICIT, BIG = header.EXPLICIT_LITTLE, header.IMPLICIT_LITTLE, header.EXPLICIT_BIG
BOTH = pytest.mark.parametrize("syntax", [EXPLICIT, IMPLICIT], ids=["explicit", "implicit"])
UNDEFINED = 0xFFFFFFFF


@dataclass(frozen=True)
class Element:
    tag: int
    vr: str
    value: bytes | tuple[tuple[Element, ...], ...] = b""
    undefined: bool = False  # a sequence and its items
    length: int | None = None  # a lie


def at(keyword: str, value: bytes, vr: str | None = None) -> Element:
    tag, right = fast_header.ATTRIBUTES[keyword]
    return Element(tag, vr or right.decode(), value)


def encode(elements: Any, syntax: str = EXPLICIT) -> bytes:
    return b"".join(_encode(element, syntax) for element in elements)


def _encode(element: Element, syntax: str) -> bytes:
    value = element.value if isinstance(element.value, bytes) else _items(element, syntax)
    length = element.length
    if length is None:
        length = UNDEFINED if element.undefined else len(value)
    order = ">" if syntax == BIG else "<"
    start = pack(order + "HH", element.tag >> 16, element.tag & 0xFFFF)
    if syntax == IMPLICIT:
        return start + pack("<I", length) + value
    if element.vr.encode() in fast_header.LONG_VRS:
        return start + element.vr.encode() + pack(order + "HI", 0, length) + value
    return start + element.vr.encode() + pack(order + "H", length & 0xFFFF) + value


def _items(sequence: Element, syntax: str) -> bytes:
    out = b""
    for item in sequence.value:
        body = encode(item, syntax)
        if sequence.undefined:
            out += b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + body + b"\xfe\xff\x0d\xe0\0\0\0\0"
        else:
            out += b"\xfe\xff\x00\xe0" + pack("<I", len(body)) + body
    return out + (b"\xfe\xff\xdd\xe0\0\0\0\0" if sequence.undefined else b"")


def part10(body: bytes, syntax: str = EXPLICIT, more_meta: tuple[Element, ...] = ()) -> bytes:
    uid = syntax.encode() + b"\0" * (len(syntax) % 2)
    meta = encode([Element(0x00020001, "OB", b"\0\1"), Element(0x00020010, "UI", uid), *more_meta])
    return b"\0" * 128 + b"DICM" + encode([Element(0x00020000, "UL", pack("<I", len(meta)))]) + meta + body


SLICE = (
    at("ImageType", b"ORIGINAL\\PRIMARY\\AXIAL"),
    at("SOPInstanceUID", b"1.2.3.4.5\0"),
    at("AcquisitionTime", b"101530.25 "),
    at("SeriesDescription", b"Abdomen  5.0"),
    at("DerivationDescription", b"from a\\b"),
    at("SpacingBetweenSlices", b"2.50"),
    at("DiffusionBValue", pack("<d", 700.5)),
    at("SeriesInstanceUID", b"1.2.3.45"),
    at("InstanceNumber", b"+7"),
    at("ImagePositionPatient", b"-120.5\\ 31.25\\1e2 "),
    at("NumberOfFrames", b"1 "),
    at("Rows", pack("<H", 3)),
    at("Columns", pack("<H", 5)),
    at("PixelSpacing", b"0.75\\0.50 "),
)
PIXELS = Element(0x7FE00010, "OW", bytes(range(30)))


def sort(*elements: Element) -> tuple[Element, ...]:
    """In order of tags; the last of each tag."""
    return tuple(sorted({e.tag: e for e in elements}.values(), key=lambda e: e.tag))


def a_file(*changes: Element, syntax: str = EXPLICIT, pixels: Element | None = PIXELS) -> bytes:
    return part10(encode(sort(*SLICE, *changes, *([pixels] if pixels else [])), syntax), syntax)


def fast(path: Path) -> header.Header | None:
    try:
        return header.Header(path, **header._FAST.read(path))
    except fast_header.GiveUp:
        return None


def judge(path: Path, content: bytes | None = None) -> str:
    """'equal' or 'gave up'; fails on any third outcome. repr tells 1 from 1.0, compares the order, and NaN."""
    if content is not None:
        path.write_bytes(content)
    ours = fast(path)
    if ours is None:
        return "gave up"
    assert repr(ours) == repr(header._read_with_pydicom(path))
    return "equal"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "slice.dcm"


# The tables


def test_the_dictionary_is_pydicoms_and_has_no_other_line() -> None:
    from pydicom.datadict import dictionary_VR, tag_for_keyword

    assert set(fast_header.ATTRIBUTES) == {*header.KEYWORDS, *receiver_store._ASKED}
    for keyword, (tag, vr) in fast_header.ATTRIBUTES.items():
        assert (tag, vr.decode()) == (tag_for_keyword(keyword), dictionary_VR(tag))
        assert vr in (b"UI", b"CS", b"LO", b"TM", b"ST", b"DS", b"IS", b"US", b"FD"), "no conversion for this VR"


def test_one_number_and_several_are_the_dictionarys() -> None:
    from pydicom.datadict import dictionary_VM

    numbers = {k: t for k, (t, vr) in fast_header.ATTRIBUTES.items() if vr in (b"DS", b"IS", b"US", b"FD")}
    assert {k for k, tag in numbers.items() if dictionary_VM(tag) != "1"} == fast_header.SEVERAL_NUMBERS


def test_sequences_are_sequences_and_private_tags_are_in_no_dictionary() -> None:
    from pydicom.datadict import DicomDictionary, dictionary_VR

    assert {dictionary_VR(tag) for tag in fast_header.SEQUENCES} == {"SQ"}
    assert not [tag for tag in DicomDictionary if tag & 0x10000]


def test_vrs_have_pydicoms_lengths() -> None:
    from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

    assert {vr.decode() for vr in fast_header.SHORT_VRS} == {str(vr) for vr in EXPLICIT_VR_LENGTH_16}
    assert {vr.decode() for vr in fast_header.LONG_VRS} == {str(vr) for vr in EXPLICIT_VR_LENGTH_32}


# Real files


def test_every_sample_is_equal_or_given_up(samples: Path) -> None:
    outcomes = Counter(judge(p) for p in samples.rglob("*") if p.is_file())
    assert outcomes["equal"] >= 560, outcomes


# Files it must read


@BOTH
def test_a_plain_slice(path: Path, syntax: str) -> None:
    assert judge(path, a_file(syntax=syntax)) == "equal"
    read = header.read_header(path)
    assert read.values["ImagePositionPatient"] == (-120.5, 31.25, 100.0)
    assert read.values["DerivationDescription"] == "from a\\b"
    content = path.read_bytes()
    assert content[read.pixel_offset : read.pixel_offset + read.pixel_length] == PIXELS.value  # type: ignore[operator]


def _every_vr() -> tuple[Element, ...]:
    texts = {"AS": b"042Y", "DA": b"20260131", "DT": b"20260131101530", "PN": b"Doe^J\xf6rg ", "UR": b"http://x.y/"}
    texts |= {"AT": pack("<HH", 0x28, 0x10), "UI": b"1.2.30\0\0", "SQ": b""}
    sizes = {"SS": 2, "US": 2, "SL": 4, "UL": 4, "FL": 4, "FD": 8, "SV": 8, "UV": 8}
    values = {vr.decode(): b"12" for vr in fast_header.SHORT_VRS | fast_header.LONG_VRS}
    values |= texts | {vr: bytes(range(3 * size)) for vr, size in sizes.items()}
    both = [(vr, values[vr] + b" " * (len(values[vr]) % 2 and vr != "SQ")) for vr in sorted(values)]
    public = [Element(0x00081100 + n, vr, value) for n, (vr, value) in enumerate(both)]  # no tags of the dictionary
    creator = [Element(0x00290010, "LO", b"SOMEBODY")]
    private = [Element(0x00291000 + n, vr, value) for n, (vr, value) in enumerate(both)]
    empty = [Element(0x00292000 + n, vr) for n, (vr, _) in enumerate(both)]
    return (*public, *creator, *private, *empty)


@BOTH
def test_elements_of_every_vr_public_private_and_empty(path: Path, syntax: str) -> None:
    assert judge(path, a_file(*_every_vr(), syntax=syntax)) == "equal"


@BOTH
@pytest.mark.parametrize("undefined", [True, False])
@pytest.mark.parametrize("inner", [True, False])
def test_nested_sequences(path: Path, syntax: str, undefined: bool, inner: bool) -> None:
    code = (Element(0x00080100, "SH", b"T-A "), Element(0x00080104, "LO", b"Abdomen "))
    deep = Element(0x00540302, "SQ", (code, (), code), inner)
    private = Element(0x00291010, "SQ", ((*code, deep),), inner)
    icon = (Element(0x00280010, "US", b"\2\0"), PIXELS)
    changes = (
        Element(0x00081140, "SQ", ((Element(0x00081155, "UI", b"1.2."), private, deep), ()), undefined),
        Element(0x00291010, "SQ", ((*code, deep), code), undefined),
        Element(0x00880200, "SQ", (icon,), undefined),
        Element(0x00400275, "SQ", (), undefined),
    )
    assert judge(path, a_file(*changes, syntax=syntax)) == "equal"


@BOTH
def test_overlays_trailing_padding_and_empty_values(path: Path, syntax: str) -> None:
    overlays = [Element(group << 16 | 0x3000, "OW", b"\1\2") for group in (0x6000, 0x6004, 0x601E, 0x6020)]
    no_data = Element(0x60020010, "US", b"\5\0")
    padding = Element(0xFFFCFFFC, "OB", b"\0" * 64)
    empty = [Element(tag, vr.decode()) for tag, vr in fast_header.ATTRIBUTES.values()]
    assert judge(path, a_file(*empty, *overlays, no_data, padding, syntax=syntax)) == "equal"
    read = header.read_header(path)
    assert read.overlays == (0x6000, 0x6004, 0x601E)
    assert read.values == {}


@BOTH
def test_pixel_data_that_is_cut_off_or_absent(path: Path, syntax: str) -> None:
    assert judge(path, a_file(syntax=syntax)[:-7]) == "equal"
    assert judge(path, a_file(syntax=syntax, pixels=None)) == "equal"
    assert not header.read_header(path).has_pixels


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"])
def test_headers_of_encapsulated_syntaxes(path: Path, syntax: str) -> None:
    pixels = Element(0x7FE00010, "OB", ((), ()), undefined=True)
    assert judge(path, a_file(syntax=syntax, pixels=pixels)) == "equal"
    read = header.read_header(path)
    assert (read.native, read.pixel_length) == (False, None)
    assert path.read_bytes()[read.pixel_offset :][:4] == b"\xfe\xff\x00\xe0"


@BOTH
def test_a_long_private_value_is_passed_over(path: Path, syntax: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert judge(path, a_file(Element(0x00091010, "OB", b"\7" * 3_000_001 + b"\7"), syntax=syntax)) == "equal"
    taken: list[int] = []
    read = os.read
    monkeypatch.setattr(os, "read", lambda *a: taken.append(a[1]) or read(*a))
    assert fast(path) is not None
    assert sum(taken) < 30_000


@BOTH
@pytest.mark.parametrize("filling", range(7600, 8200, 38))
def test_elements_across_the_window(path: Path, syntax: str, filling: int) -> None:
    assert judge(path, a_file(Element(0x00091010, "UN", b"\7" * filling), syntax=syntax)) == "equal"


@BOTH
@pytest.mark.parametrize("filling", range(8000, 8060, 4))
def test_a_data_set_that_begins_where_the_window_ends(path: Path, syntax: str, filling: int) -> None:
    meta = (Element(0x00020102, "OB", b"\7" * filling),)
    assert judge(path, part10(encode((*SLICE, PIXELS), syntax), syntax, meta)) == "equal"


@BOTH
@pytest.mark.parametrize("charset", sorted(fast_header._ASCII_COMPATIBLE))
def test_ascii_is_ascii_in_these_character_sets(path: Path, syntax: str, charset: bytes) -> None:
    text = bytes(range(0x20, 0x7F)).replace(b"\\", b"") + b"."
    charset_element = Element(0x00080005, "CS", charset + b" " * (len(charset) % 2))
    content = a_file(
        charset_element, at("SeriesDescription", text + b"."), at("DerivationDescription", b"\\" + text), syntax=syntax
    )
    assert judge(path, content) == "equal"


# One value: what must be equal, and what must be left to pydicom

# fmt: off
_EQUAL = {
    "SliceThickness": [
        b"1e3 ", b"+1", b" 1.50 ", b"007.5 ", b".5", b"5.", b"-0.0", b"1E-3", b"  ", b"1.5\0", b"1.5 \0 \0 ", b"1\\ 2 ",
        b"2\\2.0\\ 2 ", b"0\\-0 ",
        b"1.00000000000000000000000001", b"1e999 ", b"\0\0", b"-1.7976931348623157e+308 ",
    ],
    "NumberOfFrames": [b"1\\1 "],
    "InstanceNumber": [b"12", b"+7", b"-7", b" 7 ", b"007 ", b"7\0", b"7 \0", b"  ", b"1\\2 ", b"2147483647 "],
    "Modality": [b"CT", b"ct", b" CT ", b"CT\0\0", b"  ", b"A\\B ", b"A\\\\B ", b"A\\", b"\\B", b"A \\ B ", b"A\\ \0"],
    "SeriesDescription": [b" lead ", b"a\\b ", b"a\\", b"~^`|", b"x" * 300, b"a \0 "],
    "DerivationDescription": [b"a\\b ", b" a", b"\\ ", b"a \0"],
    "SeriesInstanceUID": [b"1.2.3\0", b"1.2.3 ", b" 1.2", b"1.2\\1.3 ", b"\0\0", b"1.2.x ", b"9" * 80],
    "ContentTime": [b"1015", b"101530.123456 ", b"10:15:30", b"10\\11 "],
    "Rows": [b"\0\0", b"\xff\xff", b"\1\0\2\0", b"\1\0" * 7],
    "DiffusionBValue": [pack("<d", 1e-300), pack("<3d", 1, -2.5, 3), pack("<d", float("nan"))],
}
_GIVEN_UP = {
    "SliceThickness": [
        b"1,5 ", b"1_0 ", b"nan ", b"inf ", b"\xa01", b"1 2 ", b"1\\\\2 ", b"\\1", b"1e", b"\t1", b"0x10", b"1.5\x002 ",
    ],
    "InstanceNumber": [
        b"1.0 ", b"1_0 ", b"99999999999 ", b"2147483648", b"1\\\\2 ", b"1e3 ", b"\xb2 ", b"--1 ", b"1" * 5000,
    ],
    "Modality": [b"C\tT ", b"CT\r\n", b"C\xd6", b"\0CT ", b"C\0T ", b"\x1b(BCT "],
    "SeriesDescription": [b"Sch\xe4del ", b"a\\\x1b$B ", b"x" * 9000],
    "DerivationDescription": [b"a\r\nb ", b"\xe4b"],
    "Rows": [b"\1\0\0"],
    "DiffusionBValue": [b"\1\0\0\0"],
    "NumberOfFrames": [b"2 ", b"0 ", b"-1", b"1\\2 "],
}
# fmt: on


def _cases(table: dict[str, list[bytes]]) -> list[Any]:
    return [pytest.param(k, v, id=f"{k} {v[:20]!r}") for k, values in table.items() for v in values]


@BOTH
@pytest.mark.parametrize(("keyword", "value"), _cases(_EQUAL))
def test_values_read_alike(path: Path, syntax: str, keyword: str, value: bytes) -> None:
    assert judge(path, a_file(at(keyword, value + b" " * (len(value) % 2)), syntax=syntax)) == "equal"


@BOTH
@pytest.mark.parametrize(("keyword", "value"), _cases(_GIVEN_UP))
def test_values_left_to_pydicom(path: Path, syntax: str, keyword: str, value: bytes) -> None:
    assert judge(path, a_file(at(keyword, value), syntax=syntax)) == "gave up"


# Files it must give up


def _explicit_only() -> dict[str, bytes]:
    shared, per_frame = Element(0x52009229, "SQ", ((),)), Element(0x52009230, "SQ", ((), ()), True)
    charset = Element(0x00080005, "CS", b"ISO 2022 IR 87")
    nested = Element(0x00081140, "SQ", ((charset,),), True)
    good = a_file()
    rows = encode([at("Rows", b"\3\0")])
    return {
        "no preamble": good[132:],
        "no group length": good[:132] + good[144:],
        "a wrong group length": good[:140] + pack("<I", int.from_bytes(good[140:144], "little") + 2) + good[144:],
        "big endian": part10(encode([at("Rows", b"\0\3")], BIG), BIG),
        "deflated": part10(good, "1.2.840.10008.1.2.1.99"),
        "an unknown syntax": part10(encode(SLICE), "1.2.3.4"),
        "implicit under explicit": part10(encode(SLICE, IMPLICIT), EXPLICIT),
        "explicit under implicit": part10(encode(SLICE, EXPLICIT), IMPLICIT),
        "out of order": part10(encode((*SLICE[::-1], PIXELS))),
        "one element twice": good.replace(rows, rows * 2),
        "an unknown VR": good.replace(b"\x28\0\x10\0US", b"\x28\0\x10\0XX"),
        "an unexpected VR": good.replace(b"\x28\0\x10\0US", b"\x28\0\x10\0SS"),
        "an unknown VR nobody reads": a_file(Element(0x00091010, "ZZ", b"12")),
        "reserved bytes": a_file(Element(0x00091010, "OB", b"12")).replace(b"OB\0\0\2", b"OB\1\0\2"),
        "an odd length": a_file(Element(0x00091010, "LO", b"123")),
        "UN of undefined length": a_file(Element(0x00091010, "UN", ((),), True)),
        "OB of undefined length": a_file(Element(0x00091010, "OB", ((),), True)),
        "functional groups": a_file(shared),
        "functional groups of frames": a_file(per_frame),
        "a character set": a_file(charset),
        "a character set in an item": a_file(nested),
        "cut off in a value": a_file(pixels=None)[:-3],
        "cut off in an element": a_file()[:-36],
        "a length beyond the file": a_file(Element(0x00091010, "OB", b"12", length=1 << 30)),
        "float pixels": a_file(pixels=Element(0x7FE00008, "OF", b"1234")),
        "pixels of no pixel VR": a_file(pixels=Element(0x7FE00010, "UN", b"1234")),
    }


@pytest.mark.parametrize("name", _explicit_only())
def test_out_of_the_ordinary_is_given_up(path: Path, name: str) -> None:
    assert judge(path, _explicit_only()[name]) == "gave up"


def test_implicit_that_cannot_be_told(path: Path) -> None:
    long_first = Element(0x00080001, "UN", b"\7" * 0x4142)  # its length reads as the VR 'BA'
    assert judge(path, a_file(long_first, syntax=IMPLICIT)) == "gave up"
    unknown = Element(0x00081142, "SQ", ((),), True)  # not a sequence in the dictionary
    assert judge(path, a_file(unknown, syntax=IMPLICIT)) == "gave up"


def test_an_item_that_lies_about_its_length(path: Path) -> None:
    sequence = Element(0x00081140, "SQ", ((Element(0x00081155, "UI", b"1.2.3.4 "),),), True)
    good = a_file(sequence)
    body = encode([Element(0x00081155, "UI", b"1.2.3.4 ")])
    honest = b"\xfe\xff\x00\xe0" + pack("<I", len(body)) + body
    undefined = b"\xfe\xff\x00\xe0\xff\xff\xff\xff" + body + b"\xfe\xff\x0d\xe0\0\0\0\0"
    assert judge(path, good.replace(undefined, honest)) == "equal"
    for lie in (-2, 2, 8):
        assert judge(path, good.replace(undefined, honest[:4] + pack("<I", len(body) + lie) + body)) == "gave up"


def test_sequences_nested_without_end(path: Path) -> None:
    start = encode([Element(0x00081140, "SQ", b"", length=UNDEFINED)]) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    assert judge(path, part10(start * 5000)) == "gave up"


def test_what_is_given_up_is_read_by_pydicom(path: Path) -> None:
    judge(path, a_file(at("SeriesDescription", b"Sch\xe4del "), Element(0x00080005, "CS", b"ISO_IR 100")))
    assert header.read_header(path).values["SeriesDescription"] == "Schädel"
    with pytest.raises(fast_header.GiveUp):
        header._FAST.read(path.with_name("missing"))
    with pytest.raises(FileNotFoundError):
        header.read_header(path.with_name("missing"))
    path.write_bytes(b"a text")
    with pytest.raises(header.NotDicom):
        header.read_header(path)


def test_a_plain_file_needs_neither_pydicom_nor_numpy(path: Path) -> None:
    judge(path, a_file())
    program = (
        "import sys, pathlib, pipeline.dicom.header as h; h.read_header(pathlib.Path(sys.argv[1]));"
        "print(*{'pydicom', 'numpy', 'asyncio', 'logging'} & set(sys.modules))"
    )
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", program, str(path)], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""


# Generated and damaged files


def _bases() -> list[bytes]:
    """Small files of dense structure, where a changed byte matters, and real headers without their pixels."""
    code = (Element(0x00080100, "SH", b"T-A "), at("Modality", b"CT"))
    nest = [
        Element(0x00081140, "SQ", ((Element(0x00081115, "SQ", (code,), u), *code), ()), True) for u in (True, False)
    ]
    few = [at("Rows", b"\3\0"), at("PixelSpacing", b"0.75\\0.5"), at("SeriesInstanceUID", b"1.2.3\0")]
    made = []
    for syntax in (EXPLICIT, IMPLICIT):
        made += [part10(encode(sort(*few, n, PIXELS), syntax), syntax) for n in nest]
        made += [a_file(syntax=syntax), part10(encode(sort(*few)), EXPLICIT)]
        made.append(part10(encode(sort(*few, Element(0x00091010, "SQ", (code,), True), PIXELS), syntax), syntax))
    folders = sorted({p.parent for p in samples_folder().rglob("*.dcm")}) if has_samples() else []
    for folder in folders:
        real = min(folder.glob("*.dcm"))
        read = fast(real)
        if read and read.pixel_offset and read.pixel_offset < 20_000:
            with real.open("rb") as file:
                made.append(file.read(read.pixel_offset + 10))
    return made


BASES = _bases()


def test_every_single_byte_of_a_small_file(path: Path) -> None:
    """A quarter of the changes by default: every byte, one of four values in turn."""
    base = BASES[0]
    for where in range(128, len(base)):
        for value in (0, 1, 0x41, 0xFF)[where % 4 :][: 4 if EXAMPLES > 1000 else 1]:
            judge(path, base[:where] + bytes([value]) + base[where + 1 :])


def test_every_length_of_a_small_file(path: Path) -> None:
    outcomes = Counter(judge(path, BASES[0][:length]) for length in range(len(BASES[0])))
    assert outcomes["gave up"] > 200, "only a cut within the pixels goes unnoticed"
