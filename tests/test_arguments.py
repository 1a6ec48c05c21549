"""What is asked for is checked when it is asked for: by name and value, with what is allowed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest

from pipeline import Policy, Request, convert, convert_all, scan
from pipeline.conversion.request import ExportDescription
from pipeline.core.findings import Code, PipelineError
from pipeline.core.policy import choices
from pipeline.decode.embedded.labelled import Named
from tests.helpers.phantom import Spec, write
from tests.test_cli import Said

SMALL = Spec(shape=(9, 7, 5), row_spacing=1.3, column_spacing=0.8, step=2.1, bits_allocated=8, radius_mm=4)
OFF = Policy(crosscheck="off")
NAN, INFINITE = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, "fil") for name in ("as_", "on_tilt", "on_gap", "on_duplicate", "resample", "combine", "crosscheck")),
        *((name, value) for name in ("labels_file", "write", "on_gap") for value in ("Refuse", "", None, True, 1, [])),
        *(("fractional", value) for value in (0, -0.5, 1.01, NAN, INFINITE, "half", None, True)),
        *(("gzip_level", value) for value in (-1, 10, 1.0, "3", True)),
        *(("mm_per_unit", value) for value in (0, -1.0, NAN, INFINITE, 10**400, "1", True)),
        *(("orient", value) for value in ("", "RA", "RRS", "LPX", "RASP", None, 3)),
        *((name, value) for name in ("interpolate", "keep_values", "allow_empty") for value in (1, "yes", None)),
        *(
            (name, value)
            for name in ("corner_limit_mm", "centre_limit_mm", "cosine_limit", "witness_limit_mm", "skew_limit")
            for value in (0, -1e-3, NAN, INFINITE, "0.1", None, True)
        ),
        ("corner_limit_fraction", 1.5),
    ],
)
def test_a_policy_that_cannot_be_is_refused_by_name_and_value(field: str, value: Any) -> None:
    with pytest.raises(PipelineError) as refused:
        Policy(**{field: value})
    finding = refused.value.finding
    assert int(refused.value.exit) == 64
    if field == "orient":
        assert finding.code is Code.BAD_ORIENTATION
        return
    assert finding.code is Code.BAD_OPTION
    assert f"Policy.{field}" in finding.message
    assert repr(value) in finding.message
    assert all(choice in finding.message for choice in choices(field) if isinstance(choice, str))


def test_a_policy_that_can_be_is_made() -> None:
    Policy(fractional=1, gzip_level=0, mm_per_unit=1, orient="lps", corner_limit_mm=1)
    Policy(fractional="keep", gzip_level=9, corner_limit_fraction=1.0)
    for name in ("on_gap", "write", "labels_file"):
        for choice in choices(name):
            assert getattr(Policy(**{name: choice}), name) == choice  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "made",
    [
        lambda: Request(series=""),
        lambda: Request(part=" "),
        lambda: Request(series=7),  # type: ignore[arg-type]
        lambda: Request(source=7),  # type: ignore[arg-type]
        lambda: Request(source=["a", ""]),
        lambda: Request(clean=b"a"),  # type: ignore[arg-type]
        lambda: Request(like=["a"]),  # type: ignore[arg-type]
        lambda: Request(wanted=()),
        lambda: Request(wanted=["liver", ""]),
        lambda: Request(order=[None]),  # type: ignore[list-item]
        lambda: Request(merge="yes"),  # type: ignore[arg-type]
        lambda: Request(export="burned"),  # type: ignore[arg-type]
        lambda: ExportDescription(kind="burnt"),  # type: ignore[arg-type]
        lambda: ExportDescription(undecided="maybe"),  # type: ignore[arg-type]
        lambda: ExportDescription(outside=1.5),  # type: ignore[arg-type]
        lambda: ExportDescription(inside=3),  # type: ignore[arg-type]
        lambda: ExportDescription(inside=("liver",)),  # type: ignore[arg-type]
        lambda: Named("liver", 1.5),  # type: ignore[arg-type]
        lambda: Named("liver", (1, 2)),  # type: ignore[arg-type]
        lambda: Named("liver", (1, 2, 256)),
        lambda: Named(3, 3),  # type: ignore[arg-type]
    ],
)
def test_a_request_that_cannot_be_is_refused(made: Any) -> None:
    with pytest.raises(PipelineError) as refused:
        made()
    assert refused.value.finding.code is Code.BAD_OPTION


def test_one_is_a_list_of_one() -> None:
    assert Request(source="a", clean=Path("b"), wanted="liver", order="liver") == Request(
        source=(Path("a"),), clean=[Path("b")], wanted=["liver"], order=["liver"]
    )
    assert Request(wanted=("3", "liver")).wanted == Request(wanted=[3, "liver"]).wanted  # type: ignore[list-item]
    one = Named("liver", 3)
    assert ExportDescription(one) == ExportDescription([one]) == ExportDescription((one,))  # type: ignore[arg-type]


def test_a_folder_given_as_text_is_that_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the folders named by its letters."""
    wanted = write(tmp_path / "ab", SMALL, seed="wanted")
    for letter in "ab":
        write(tmp_path / letter, SMALL, seed=letter)
    monkeypatch.chdir(tmp_path)
    assert [s.uid for s in scan("ab").series] == [s.uid for s in scan(Path("ab")).series] == [wanted.series_uid]
    for given in ("ab", Path("ab"), ["ab"]):
        made = convert(given, "out.nii", policy=Policy(crosscheck="off", write="overwrite"))
        assert made.record["SeriesInstanceUID"] == wanted.series_uid
    done, refused = convert_all("ab", "all", policy=OFF)
    assert [o.record["SeriesInstanceUID"] for o in done] == [wanted.series_uid]
    assert refused == []


@pytest.mark.parametrize("given", [[], (), "", [""], None, b"in", 3, [None]])
def test_no_input_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: Any) -> None:
    write(tmp_path / "in", SMALL)
    monkeypatch.chdir(tmp_path / "in")  # where an empty path would lead
    for call in (
        lambda: scan(given),
        lambda: convert(given, tmp_path / "out.nii", policy=OFF),
        lambda: convert_all(given, tmp_path / "all", policy=OFF),
    ):
        with pytest.raises(PipelineError) as refused:
            call()
        assert refused.value.finding.code is Code.BAD_OPTION
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    "words",
    [
        ("{in}", "--source", ""),
        ("{in}", "--like", ""),
        ("{in}", "--labels", ""),
        ("{in}", "--rois", ","),
        ("{in}", "--order", " "),
        ("{in}", "--fractional", "2"),
        ("{in}", "--fractional", "many"),
        ("{in}", "--gzip-level", "11"),
        ("{in}", "--mm-per-unit", "nan"),
        ("{in}", "--orient", "RAX"),
        ("",),
    ],
)
def test_the_command_line_is_held_to_the_same(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, words: tuple[str, ...]
) -> None:
    truth = write(tmp_path / "in", SMALL)
    given = [str(truth.folder) if word == "{in}" else word for word in words]
    said = Said(capsys, "convert", *given, "-o", tmp_path / "out.nii.gz")
    assert (said.exit, said.out) == (64, "")
    assert [p.name for p in tmp_path.iterdir()] == ["in"]


def test_the_command_line_takes_choices_and_defaults_from_the_policy() -> None:
    from dataclasses import fields

    from tests.test_options import options

    actions = {action.dest: action for command, action in options() if command == "convert"}
    for field in fields(Policy):
        if field.name in actions:
            assert actions[field.name].default == field.default, field.name
            if isinstance(field.default, str) and field.name != "orient":
                assert tuple(actions[field.name].choices or ()) == get_args(field.type), field.name
