"""Make a conversion again from its recorded request and policy, and hold what comes of it against the result.

Rules:
- What is made again goes into a temporary folder, which is removed; nothing else is written.
- Everything but names, times and the witnesses' answers must be equal: header, voxels, geometry, planes, labels.
- How the inputs were given is not recorded, only which they were. Where it cannot be made again so, that is said, and is no
  fault of the result: a label map of a cohort, for example, is no option of a conversion.
- The witnesses are asked only where that is wanted; then each must still answer what is recorded of it, or say why not.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from ..conversion.convert import convert, convert_all
from ..conversion.option_effects import RULES
from ..conversion.record import Outcome
from ..conversion.record_text import as_text
from ..conversion.request import ExportDescription, Request
from ..core.findings import Code, PipelineError
from ..core.policy import Policy
from ..core.temporary_folder import make_temporary_folder, remove_temporary_folder
from ..decode.embedded.labelled import Named
from ..dicom.files import archive_of
from ..dicom.scan import Scan
from ..nifti.file import read_planes
from ..nifti.streams import open_unpacked
from .verify_result import Broken, NotChecked, Note, RecordValues, near, show
from .verify_source import FoundInputs

Asking = Literal["affine", "voxels"]
REPLAY, WITNESSES = "conversion made again", "witnesses"
_HEADER_BYTES = 352
# Of the record: what a conversion made again has to have too. Names of files may have been changed since.
_COMPARED = (
    *("Shape", "DataType", "Geometry", "Planes", "Slices", "Labels", "Roi", "Part", "Volumes"),
    *("MaskSource", "SourceSeriesInstanceUID", "MovedToSourceMm"),
)
_NAMES = ("File", "Name", "Colour", "Pairing", "Assumed")
_AGREES = ("AGREES", "REORDERED")


class Replays:
    """Makes conversions again, each once for all results that came of it. Use it as a context; it holds one at a time."""

    def __init__(self, crosscheck: Asking | None) -> None:
        self._crosscheck = crosscheck
        self._key = ""
        self._folder: Path | None = None
        self._made: tuple[Outcome, ...] | PipelineError = ()

    def __enter__(self) -> Replays:
        return self

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            remove_temporary_folder(self._folder)

    @property
    def asks_witnesses(self) -> bool:
        """Whether the witnesses are asked about what is made again."""
        return self._crosscheck is not None

    def check(self, file: Path, record: RecordValues, found: FoundInputs, around: Scan | None) -> Iterator[Note]:
        """Make the conversion of a result again and compare it.

        Args:
            file: the NIfTI file.
            record: as its schema says.
            found: its inputs, all of them.
            around: a scan that holds them.

        Returns: what is broken, and what could not be checked.
        """
        if "Array" in record:
            yield NotChecked(REPLAY, "it was an array from Python, which no input holds")
            return
        if record["Policy"].get("Strip", "none") != "none":
            yield NotChecked(REPLAY, "what was asked for was taken out with the names (--strip)")
            return
        try:
            policy, request = policy_of(record), request_of(record, found)
        except PipelineError as error:
            yield Broken("policy and request", "Policy", "options that this version has", error.finding.message)
            return
        is_cohort = "LabelMap" in record or record["Provenance"]["Command"][:2] == ["verimask", "cohort"]
        made = self._convert(record, found, around, policy, request)
        if isinstance(made, PipelineError):
            why = f"{made.finding.code.name}: {made.finding.message}"
            yield NotChecked(REPLAY, f"its options or inputs cannot be given again as they were ({why})")
            return
        outcome = _find_counterpart(file, record, made)
        if outcome is not None and (not is_cohort or not _first_difference(file, outcome.output)):
            yield from _compare(file, record, outcome, with_names=not is_cohort)
            yield from self._compare_answers(record, outcome)
            return
        if is_cohort:
            yield NotChecked(REPLAY, "a cohort joined and named it by its label map, which is not in the record")
        else:
            yield Broken(REPLAY, file.name, "what comes of its inputs", f"none of the {len(made)} results that do")
        if self._crosscheck:
            yield NotChecked(WITNESSES, "they are asked where a conversion can be made again")

    def _convert(
        self, record: RecordValues, found: FoundInputs, around: Scan | None, policy: Policy, request: Request
    ) -> tuple[Outcome, ...] | PipelineError:
        inputs = _inputs_in_order(record, found, around)
        single = record["Output"].endswith(".nii")
        key = json.dumps([list(map(str, inputs)), single, as_text(policy.as_json()), repr(request)])
        if key == self._key:
            return self._made
        if self._folder is not None:
            remove_temporary_folder(self._folder)
        self._key, self._folder = key, make_temporary_folder()
        policy = _without_witnesses(policy) if self._crosscheck is None else self._with_witnesses(policy)
        self._made = _run(inputs, self._folder / "again", request, policy, single=single)
        return self._made

    def _with_witnesses(self, policy: Policy) -> Policy:
        return replace(policy, crosscheck=self._crosscheck or "off", keep_disputed=True, write="refuse")

    def _compare_answers(self, record: RecordValues, outcome: Outcome) -> Iterator[Note]:
        """Hold what the witnesses answer now against what is recorded of them."""
        if self._crosscheck is None:
            return
        now = {answer.witness: answer for answer in outcome.agreements}
        if not now:
            yield NotChecked(WITNESSES, "no witness can be shown what was made")
        for was in record["CrossCheck"]:
            answer = now.pop(was["Witness"], None)
            if answer is None or answer.status in ("ABSENT", "FAILED"):
                why = answer.words if answer else f"it is not asked with --crosscheck {self._crosscheck}"
                yield NotChecked(f"witness {was['Witness']}", why)
            elif (was["Status"] in _AGREES) != (answer.status in _AGREES) or (
                (was["Status"] == "DIFFERS") != (answer.status == "DIFFERS")
            ):
                before, after = (
                    f"{s} ({v})" for s, v in ((was["Status"], was["Version"]), (answer.status, answer.version))
                )
                yield Broken(f"witness {was['Witness']}", "CrossCheck", before, f"{after}: {show(answer.words)}")
        for name, answer in now.items():
            if answer.status == "DIFFERS":
                yield Broken(f"witness {name}", "CrossCheck", "not asked", f"DIFFERS: {show(answer.words)}")


def policy_of(record: RecordValues) -> Policy:
    """The policy of a record; what did not exist when it was written is at its default. Raises PipelineError.

    Before there was a choice, names were kept.
    """
    values = {"KeepNames": True, **record["Policy"]}
    names = {_camel(field.name): field.name for field in fields(Policy)}
    return Policy(**{names[key]: value for key, value in values.items() if key in names})


def request_of(record: RecordValues, found: FoundInputs) -> Request:
    """The request of a record, with the inputs of its roles. Raises PipelineError."""
    values, paths = record["Request"], found.paths
    inside = tuple(
        Named(name, tuple(value) if isinstance(value, list) else value) for name, value in values.get("Inside", [])
    )
    return Request(
        part=values.get("Part"),
        source=_as_given(paths.get("source", ())),
        like=next(iter(paths.get("like", ())), None),
        wanted=values.get("Rois"),
        export=ExportDescription(
            inside, values.get("Outside"), values.get("Kind"), values.get("Undecided", "surrounded")
        ),
        clean=_as_given(paths.get("clean", ())),
        merge=values.get("Merge", False),
        order=values.get("Order", ()),
    )


def _camel(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_") if word)


def _without_witnesses(policy: Policy) -> Policy:
    own = Policy()
    return replace(
        policy,
        crosscheck="off",
        keep_disputed=own.keep_disputed,
        witness_limit_s=own.witness_limit_s,
        write="refuse",
    )


def _inputs_in_order(record: RecordValues, found: FoundInputs, around: Scan | None) -> list[Path]:
    """The inputs of the mask or image itself: a bundle by its folder, a merge in the order of its labels.

    A member of an archive is given by the archive: what else comes of it is no counterpart.
    """
    own = found.paths.get("", [])
    bundles = {path.parent for path in own if path.name == "bundle.json"}
    rest = [path for path in own if path.parent not in bundles]
    order = [entry["SeriesInstanceUID"] for entry in record.get("MergedFrom", [])]
    if order and around is not None:
        uids = {header.path: series.uid for series in around.series for header in series.headers}
        rest.sort(key=lambda path: order.index(uids[path]) if uids.get(path) in order else len(order))
    return [*sorted(bundles), *_as_given(rest)]


def _as_given(paths: Sequence[Path]) -> list[Path]:
    """Files, and archives instead of their members, each once."""
    return list(dict.fromkeys(archive_of(path) or path for path in paths))


def _run(
    inputs: Sequence[Path], folder: Path, request: Request, policy: Policy, *, single: bool
) -> tuple[Outcome, ...] | PipelineError:
    """Convert the inputs: to one file where only that can give it, else to a folder of them.

    Of a run over many inputs, an option may have acted on others only: it is left out where it has no effect here.
    """
    folder.mkdir()
    for _ in RULES:
        try:
            if single:
                return (convert(inputs, folder / "again.nii", request=request, policy=policy),)
            done, refused = convert_all(inputs, folder, request=request, policy=policy)
            return tuple(done) if done or not refused else refused[0]
        except PipelineError as error:
            if error.finding.code is not Code.IDLE_OPTION:
                return error
            request, policy = _without_option(error.finding.where, request, policy)
    return ()


def _without_option(named: Sequence[str], request: Request, policy: Policy) -> tuple[Request, Policy]:
    """Put the options named at their defaults."""
    for rule in RULES:
        what, _, field = rule.field.partition(".")
        if rule.option in named and what == "policy":
            policy = replace(policy, **{field: getattr(Policy(), field)})
        elif rule.option in named:
            field = field.partition(".")[0]
            request = replace(request, **{field: getattr(Request(), field)})
    return request, policy


def _find_counterpart(file: Path, record: RecordValues, made: Sequence[Outcome]) -> Outcome | None:
    """Which of the results made again is meant to be a file: the one of the same content, else the one of the same labels."""
    alike = [outcome for outcome in made if _is_alike(outcome, record)]
    others = [outcome for outcome in made if outcome not in alike]
    same = next((outcome for outcome in (*alike, *others) if not _first_difference(file, outcome.output)), None)
    if same is not None or len(alike) == 1:
        return same or alike[0]
    return made[0] if len(made) == 1 else None


def _is_alike(outcome: Outcome, record: RecordValues) -> bool:
    """Whether a result made again has the kind, shape and labels of a record."""
    labels = [[label["Value"], label["Name"]] for label in record.get("Labels", [])]
    named = [[row.value, row.name] for row in outcome.labels or ()]
    volume = (record.get("Part"), record.get("Volumes"))
    return (
        list(outcome.shape) == record["Shape"]
        and (outcome.labels is None) == ("Labels" not in record)
        and (labels == named or "LabelMap" in record)
        and volume == (outcome.record.get("Part"), outcome.record.get("Volumes"))
    )


def _compare(file: Path, record: RecordValues, outcome: Outcome, *, with_names: bool) -> Iterator[Broken]:
    """Compare the file and its record with those that were made again."""
    difference = _first_difference(file, outcome.output)
    if difference:
        yield Broken(REPLAY, f"{file.name}: {difference}", "as in the file", "otherwise")
    again = json.loads(as_text(outcome.record))
    folder = record.get("Folder", "").rpartition("/")[2]
    for was, now in zip(record.get("Labels", []), again.get("Labels", []), strict=False):
        if folder and was["Name"] == folder and now["Name"] == record.get("SeriesDescription"):
            now["Name"] = folder  # the description was that of other series too, which were not inputs of this one
    for key in _COMPARED:
        yield from _compare_values(key, record.get(key), again.get(key), with_names=with_names)


def _compare_values(where: str, was: Any, now: Any, *, with_names: bool) -> Iterator[Broken]:
    """Compare two values of JSON, member by member: the record leads, so that its schema bounds the depth."""
    last = where.rpartition(".")[2].partition("[")[0]
    if last == "File" or (last in _NAMES and not with_names):
        return
    if isinstance(was, dict) and isinstance(now, dict):
        for key in dict.fromkeys([*was, *now]):
            yield from _compare_values(f"{where}.{key}", was.get(key), now.get(key), with_names=with_names)
    elif isinstance(was, list) and isinstance(now, list) and len(was) == len(now):
        for n, (old, new) in enumerate(zip(was, now, strict=True)):
            yield from _compare_values(f"{where}[{n}]", old, new, with_names=with_names)
    elif _is_number(was) and _is_number(now):
        yield from near(REPLAY, where, was, now, 1e-6 if where.startswith("Geometry.Qform") else 0)
    elif was != now:
        yield Broken(REPLAY, where, show(was), show(now))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _first_difference(file: Path, other: Path) -> str:
    """Where two NIfTI files first differ, once unpacked: "header", or a plane; "" where they are one."""
    try:
        with open_unpacked(file) as one, open_unpacked(other) as two:
            if one.read(_HEADER_BYTES) != two.read(_HEADER_BYTES):
                return "header"
        for k, (plane, again) in enumerate(zip(read_planes(file), read_planes(other), strict=True)):
            if plane.tobytes() != again.tobytes():
                return f"plane {k}"
    except PipelineError as error:
        return error.finding.message
    except ValueError:
        return "number of planes"
    return ""
