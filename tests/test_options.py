"""No option is ignored in silence: with it a run differs from the run without it, or is refused in words that name it.

Every option of every command is tried on every kind of input its command takes. The options are those of the parser
itself, so that a new one fails here until it has a line in `VALUES`.
"""

from __future__ import annotations

import argparse
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

import pytest
from pydicom import Dataset

from pipeline.cli.main import main
from pipeline.cli.run_command import _parser
from pipeline.conversion.option_effects import RULES
from pipeline.conversion.request import Request
from pipeline.core.policy import Policy
from tests.helpers import rtphantom, segs
from tests.helpers.phantom import Spec, write
from tests.test_commands import bundle, clean_series

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)


@dataclass(frozen=True)
class Try:
    """How an option is tried. values: what follows it."""

    values: tuple[str, ...] = ()


# A value each; {words} are paths of the inputs. Several tries where one value could be what happens anyway.
VALUES: dict[str, dict[str, list[Try]]] = {
    "convert": {
        "output": [],  # required: every run has it
        "series": [Try(("no such",))],
        "part": [Try(("no such",))],
        "rois": [Try(("{roi}",))],
        "as_": [Try(("image",))],
        "palette": [Try(("apply",))],
        "keep_values": [Try()],
        "allow_empty": [Try()],
        "fractional": [Try(("0.9",)), Try(("keep",))],
        "combine": [Try(("separate",)), Try(("merge",))],
        "images": [Try()],
        "merge": [Try()],
        "order": [Try(("one",))],
        "interpolate": [Try()],
        "mm_per_unit": [Try(("2",))],
        "clean": [Try(("{clean}",))],
        "inside": [Try(("1",))],
        "outside": [Try(("0",))],
        "labels": [Try(("a=2",))],
        "kind": [Try(("burned",)), Try(("masked",)), Try(("overlay",)), Try(("colour",))],
        "undecided": [Try(("inside",)), Try(("outside",))],
        "list_values": [Try()],
        "source": [Try(("{source}",))],
        "like": [Try(("{like}",))],
        "grey_values": [Try()],
        "same_frame": [Try()],
        "resample": [Try(("nearest",))],
        "orient": [Try(("SPL",))],
        "on_tilt": [Try(("shear",)), Try(("resample",))],
        "on_gap": [Try(("fill",)), Try(("nearest",)), Try(("resample",))],
        "on_duplicate": [Try(("drop",)), Try(("first",)), Try(("last",))],
        "on_unread": [Try(("leave-out",))],
        "on_lossy": [Try(("threshold",)), Try(("keep",))],
        "assume_spacing": [Try()],
        "crosscheck": [Try(("off",))],
        "witness_limit_s": [Try(("5",))],
        "labels_file": [Try(("bids",)), Try(("itksnap",)), Try(("slicer",))],
        "gzip_level": [Try(("9",))],
        "keep_disputed": [Try()],
        "report": [Try()],
        "jobs": [Try(("2",))],
        "max_memory": [],  # in tests/test_sizes.py
        "verbose": [],  # in tests/test_logging.py
        "strict": [Try()],
        "write": [Try(("suffix",)), Try(("skip",)), Try(("overwrite",))],
        "keep_names": [Try()],
        "strip": [Try(("names",)), Try(("uids",))],
    },
    "series": {"left_out": [Try()]},
    "report": {
        "output": [],
        "source": [Try(("{source}",))],
        "source_series": [Try(("no such",))],
        "interactive": [Try()],
        "convention": [Try(("neurological",))],
        "show_phi": [Try()],
        "ratings": (),  # in tests/test_page_access.py
    },
    "explain": {"source": [Try(("{source}",))], "series": [Try(("no such",))], "part": [Try(("no such",))]},
    "diagnose": {"source": [], "mask_series": [Try(("{image}",))], "fix": [Try(("{new}",))]},
    "check": {},
    "export": {
        "output": [],
        "source": [Try(("{image}",))],
        "to": [Try(("seg",))],
        "segments": [Try(("{toml}",))],
        "mask_name": [Try(("no such",))],
        "keep_names": [Try()],
        "strip": [],  # in tests/test_encode.py and test_privacy.py
    },
    # Those of a cohort have tests of their own: tests/test_cohort_cli.py, test_cohort_again.py and others.
    "cohort": dict.fromkeys(
        (
            "allow_empty",
            "assume_spacing",
            "crosscheck",
            "dask",
            "dry_run",
            "fractional",
            "gzip_level",
            "images",
            "incomplete",
            "interpolate",
            "jobs",
            "keep_disputed",
            "keep_names",
            "labels",
            "labels_draft",
            "layout",
            "mm_per_unit",
            "no_page",
            "on_duplicate",
            "on_gap",
            "on_tilt",
            "on_unread",
            "only_failed",
            "output",
            "part",
            "prune",
            "public_ids",
            "resample",
            "salt",
            "same_frame",
            "separate",
            "session",
            "strip",
            "subject",
            "table",
            "title",
            "write",
        ),
        (),
    ),
    # Those of regress have tests of their own, tests/test_regress.py; a case has the options that convert has.
    "regress": dict.fromkeys(
        (
            "add",
            "all",
            "allow_left_out",
            "fetch",
            "junit",
            "jobs",
            "licence",
            "name",
            "only",
            "origin",
            "update",
            "why",
        ),
        (),
    ),
    "verify": {"dicom": (), "crosscheck": ()},  # in tests/test_verify.py
    # Those of archives: tests/test_pacs_fetch.py and test_pacs_send.py.
    "fetch": dict.fromkeys(
        ("calling", "ca_file", "certificate", "convert", "move_to", "output", "series", "study", "timeout", "tls"), ()
    ),
    "send": dict.fromkeys(("allow_invalid", "calling", "ca_file", "certificate", "timeout", "tls", "to"), ()),
    # Those of listen have tests of their own: tests/test_pacs_listen.py and test_pacs_listen_cli.py.
    "listen": dict.fromkeys(
        (
            "ae",
            "allow",
            "ca_file",
            "certificate",
            "keep_names",
            "min_free",
            "output",
            "port",
            "quiet_time",
            "stop_after",
            "strip",
        ),
        (),
    ),
    "selftest": {},
    "doctor": {"verbose": ()},  # in tests/test_doctor.py
    "describe": dict.fromkeys(("anonymous", "output", "rebuild"), ()),  # in tests/test_describe.py
    "mimics-script": {"back": [Try()], "output": (), "write": ()},  # the last two in tests/test_windows.py
    "to-mimics": {"output": [], "image": [Try(("no such",))], "mm_per_unit": [Try(("2",))]},
}
OF_CASES = set(VALUES["convert"]) - {
    "output",
    "list_values",
    "report",
    "jobs",
    "max_memory",
    "strict",
    "verbose",
    "write",
    "keep_names",
    "strip",
}
COMMON = {"json": [Try()], "quiet": [Try()]}  # of every command that has them
# What is asked for is what happens anyway.
HAPPENS_ANYWAY = {("image", "as_", "image"), ("seg", "combine", "merge")}
# Policies that are fine where what they are for does not occur. Each takes effect in a test of its own.
MAY_CHANGE_NOTHING = {r.field.rpartition(".")[2] for r in RULES if r.is_policy} | {"left_out"}


def options() -> Iterator[tuple[str, argparse.Action]]:
    """Every option of every command, from the parser."""
    (commands,) = [a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)]
    for name, parser in commands.choices.items():
        parser.build()
        for action in parser._actions:
            if action.option_strings and action.dest != "help":
                yield name, action


def test_every_option_is_tried() -> None:
    known = {(command, name) for command, tries in VALUES.items() for name in tries}
    known |= {("regress", name) for name in OF_CASES}
    found = {(command, action.dest) for command, action in options()}
    assert known <= found
    assert {(command, name) for command, name in found - known if name not in COMMON} == set()


def test_every_choice_of_a_policy_or_request_has_a_rule() -> None:
    """But the tolerances, which always hold."""
    tolerances = {f.name for f in fields(Policy) if f.name.endswith(("_limit", "_limit_mm", "_fraction"))}
    ruled = {r.field for r in RULES}
    assert {f"policy.{f.name}" for f in fields(Policy) if f.name not in tolerances} <= ruled
    described = {"request.export." + name for name in ("inside", "outside", "kind", "undecided")}
    assert {f"request.{f.name}" for f in fields(Request) if f.name != "export"} | described <= ruled


def test_every_rule_names_an_option_of_convert() -> None:
    words = {word for command, action in options() if command == "convert" for word in action.option_strings}
    assert {word for rule in RULES for word in rule.option.split(" or ")} <= words


def in_one_frame(_: int, dataset: Dataset) -> None:
    dataset.FrameOfReferenceUID = "1.2.3"


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Five kinds of input, and what options name."""
    folder = tmp_path_factory.mktemp("options")
    made = {
        "labels": write(folder / "labels", SMALL, labels=(1, 2), description="one", edit=in_one_frame).folder,
        "image": write(folder / "image", SMALL, content="index", bits_allocated=16, seed="image").folder,
        "source": write(
            folder / "source", SMALL, content="index", bits_allocated=16, seed="of labels", edit=in_one_frame
        ).folder,
        "clean": write(folder / "clean", SMALL, labels=(3,), seed="clean").folder,
    }
    (folder / "seg").mkdir()
    truth = segs.blobs(2, overlap=False)
    segs.write_seg(folder / "seg" / "seg.dcm", segs.frames_of(truth), names=("one", "two"))
    grid = rtphantom.grid(shape=(12, 10, 4))
    rtphantom.write_images(folder / "rt" / "ct", grid)
    corners = rtphantom.rectangle(2.2, 8.1, 1.3, 6.2)
    contours = [rtphantom.on(grid, corners, k) for k in (1, 1.5, 2.5)]
    rois = [rtphantom.PhantomRoi(name, contours[n:], n) for n, name in enumerate(("one", "two"), 1)]
    rtphantom.write_struct(folder / "rt" / "rs.dcm", rois)
    made |= {"seg": folder / "seg", "rtstruct": folder / "rt"}
    made["bundle"] = bundle(folder / "bundle", "--dicom", "bone", "tumour")
    made["bundle source"] = clean_series(made["bundle"])
    made["toml"] = folder / "segments.toml"
    made["toml"].write_text("[[segments]]\n")
    done(["convert", str(made["labels"]), "-o", str(folder / "mask.nii.gz"), "--crosscheck", "off"])
    made["nifti"] = folder / "mask.nii.gz"
    return made


STRUCT = rtphantom.STRUCT_SERIES_UID
BASES = {
    "convert": {
        "labels": ["{labels}", "--crosscheck", "off", "-o", "{out}/out.nii"],
        "image": ["{image}", "--as", "image", "--crosscheck", "off", "-o", "{out}/out.nii"],
        "seg": ["{seg}", "--crosscheck", "off", "-o", "{out}/out.nii"],
        "rtstruct": ["{rtstruct}", "--series", STRUCT, "--rois", "one", "--crosscheck", "off", "-o", "{out}/out.nii"],
        "bundle": ["{bundle}", "--rois", "bone", "--crosscheck", "off", "-o", "{out}/out.nii"],
    },
    "series": {kind: ["{" + kind + "}"] for kind in ("labels", "image", "seg", "rtstruct")},
    "explain": {kind: ["{" + kind + "}"] for kind in ("labels", "image", "seg", "rtstruct", "nifti")},
    "report": {"nifti": ["{record}", "-o", "{out}/page.html"]},
    "diagnose": {"nifti": ["{nifti}", "--source", "{labels}"]},
    "check": {"nifti": ["{nifti}", "{labels}"]},
    "export": {
        "nifti": ["{nifti}", "-o", "{out}/dicom"],
        "bundle": ["{bundle}", "--mask-name", "bone", "-o", "{out}/dicom"],
    },
    "mimics-script": {"nothing": []},
    "to-mimics": {"bundle": ["{bundle mask}", "{bundle}", "-o", "{out}/back"]},
}


@dataclass(frozen=True)
class Effect:
    """All that a run leaves: exit, what it printed, and the files it wrote."""

    exit: int
    printed: str
    errors: str
    files: dict[str, bytes]


PLAIN: dict[tuple[str, str], Effect] = {}  # what a command does with a kind of input, without further options


def done(arguments: list[str]) -> int:
    with pytest.raises(SystemExit) as left:
        main(arguments)
    return int(left.value.code or 0)


def effect(capsys: pytest.CaptureFixture[str], arguments: list[str], out: Path) -> Effect:
    """What a run does; what the record says was asked for left out, so that it alone is no effect."""
    out.mkdir()
    code = done(arguments)
    printed = capsys.readouterr()
    files = {str(p.relative_to(out)): _content(p) for p in sorted(out.rglob("*")) if p.is_file()}
    shutil.rmtree(out)
    return Effect(code, _without_request(printed.out.replace(str(out), "OUT")), printed.err, files)


def _content(path: Path) -> bytes:
    if path.suffix == ".html":
        return path.read_bytes().partition(b'id="provenance"')[0]
    return _without_request(path.read_text("utf-8")).encode() if path.suffix == ".json" else path.read_bytes()


def _without_request(text: str) -> str:
    try:
        record = json.loads(text)
    except ValueError:
        return text
    if isinstance(record, dict) and "Provenance" in record:
        del record["Policy"], record["Request"], record["Provenance"]["Command"]
    return json.dumps(record)


def words_of(command: str, kind: str, inputs: dict[str, Path], tmp_path: Path) -> dict[str, str]:
    """What the words in braces stand for."""
    words: dict[str, str] = {key: str(path) for key, path in inputs.items()}
    words |= {
        "out": str(tmp_path / "out"),
        "new": str(tmp_path / "out" / "fixed.nii.gz"),
        "record": str(inputs["nifti"].with_name("mask.json")),
        "roi": {"labels": "2", "bundle": "tumour"}.get(kind, "two"),
        "source": str(inputs["bundle source" if kind == "bundle" else "source"]),
        "like": str(inputs["nifti"]),
    }
    if command == "to-mimics":
        words["bundle mask"] = str(tmp_path / "bone.nii.gz")
        assert (
            done(["convert", words["bundle"], "--rois", "bone", "--crosscheck", "off", "-o", words["bundle mask"]]) == 0
        )
    return words


@pytest.mark.parametrize(("command", "kind"), [(c, k) for c, kinds in BASES.items() for k in kinds])
def test_a_run_repeats(
    command: str, kind: str, inputs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """So that a difference is that of the option."""
    words = words_of(command, kind, inputs, tmp_path)
    given = [command, *(word.format(**words) for word in BASES[command][kind])]
    capsys.readouterr()
    assert effect(capsys, given, tmp_path / "out") == effect(capsys, given, tmp_path / "out")


CASES = [
    (command, kind, action.dest, number)
    for command, action in options()
    for kind in BASES.get(command, {})
    for number in range(len(VALUES[command].get(action.dest, COMMON.get(action.dest, []))))
]


@pytest.mark.parametrize(("command", "kind", "name", "number"), CASES)
def test_an_option_acts_or_is_refused_by_name(
    command: str,
    kind: str,
    name: str,
    number: int,
    inputs: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = words_of(command, kind, inputs, tmp_path)
    capsys.readouterr()
    (action,) = [a for c, a in options() if (c, a.dest) == (command, name)]
    tried = (VALUES[command].get(name) or COMMON[name])[number]
    base = [command, *(word.format(**words) for word in BASES[command][kind])]
    with_it = [*base, action.option_strings[-1], *(value.format(**words) for value in tried.values)]
    if (command, kind) not in PLAIN:
        PLAIN[command, kind] = effect(capsys, base, tmp_path / "out")
    plain = PLAIN[command, kind]
    assert plain.exit in (0, 12), plain.errors
    changed = effect(capsys, with_it, tmp_path / "out")
    refused = changed.exit != 0 and any(word in changed.errors for word in action.option_strings)
    anyway = name in MAY_CHANGE_NOTHING or any((kind, name, value) in HAPPENS_ANYWAY for value in tried.values)
    assert refused or changed != plain or anyway, changed
