"""Judge an output that is already there: passed over, made anew, or left alone.

Rules:
- It is passed over only where its record proves all of it: the file's own hash, the hashes of every input and of no other,
  what was asked for, and the version.
- Where its record proves that it is an unharmed output of ours, but of other inputs, options or version, it is stale and
  is made anew, and the result says why.
- A file that no record proves is somebody's: it is left alone, and that is a refusal.
- What is replaced takes with it what was made of it, which nobody could tell from that of the new one.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from .. import __version__
from ..core.findings import Code, Finding, PipelineError, Severity, refuse
from ..core.json_file import read_json
from ..core.plain_text import escape_bytes
from ..core.policy import Policy
from ..dicom.source_file import sha256
from ..volume.label_files import LabelFileKind, label_file
from .page_file import is_page, page_of
from .record import SCHEMA, sidecar_of
from .record_text import as_text

Digests = Sequence[tuple[str, str]]  # role and SHA-256 of every input
_SAME_ANYWAY = ("Write", "WitnessLimitS")  # of the policy: what they do is done already
_SHOWN_BY_INPUTS = ("Series",)  # of the request: the hashes of what was chosen say it


class Standing(NamedTuple):
    """What became of an output that is there. stale: why it is made anew, "" where it is passed over."""

    name: str
    verdict: str
    stale: str

    def finding(self) -> Finding:
        """Return what is to be known of a result that took the place of a stale one."""
        message = f"{self.name} was STALE and was made anew: {self.stale}"
        return Finding(Code.STALE, message, severity=Severity.INFO, where=(self.name,))


def judge(target: Path, policy: Policy, request: Mapping[str, Any], inputs: Digests) -> Standing:
    """Judge whether the output at `target`, or its record, is what this conversion would write.

    Args:
        target: the NIfTI file; it or its record is there.
        policy: of this conversion.
        request: of this conversion, as recorded.
        inputs: the role and SHA-256 of every file this conversion reads.

    Returns: why it is passed over, or made anew.

    Raises: PipelineError OUTPUT_EXISTS for a file that no record proves.
    """
    record = _record_of(target)
    proof = record["Provenance"]
    reasons = []
    if not target.exists():
        reasons.append(f"file changed ({target.name} is gone)")
    elif sha256(target) != proof.get("OutputSHA256"):
        raise _left_alone(target, f"file changed (it has not the SHA-256 that {sidecar_of(target).name} proves)")
    reasons += _labels_file(target, policy, proof)
    if record.get("ConversionSoftwareVersion") != __version__:
        reasons.append(f"version changed (it was {record.get('ConversionSoftwareVersion')}, this is {__version__})")
    reasons += _options(record, policy, request)
    reasons += _inputs(proof, inputs)
    return Standing(target.name, str(record["Verdict"]), "; ".join(reasons))


def companions_of(target: Path, labels: Path | None) -> list[Path]:
    """What was made of a file that is replaced, and would be taken for that of the new one: its page, its files of labels.

    Args:
        target: of the file.
        labels: the file of labels that is written now, which replaces its own.

    Returns: the paths; not of files of labels that somebody changed.
    """
    try:
        known = _record_of(target)["Provenance"].get("LabelsFile")
    except PipelineError:  # it is not of ours, and so has none
        known = None
    of_labels = [label_file(target, kind) for kind in get_args(LabelFileKind)]
    own = [path for path in of_labels if path not in (labels, target) and _is_known(path, known)]
    return own + [page_of(target)] * is_page(page_of(target))


def _is_known(path: Path, known: Any) -> bool:
    """Whether it is the file of labels that a record names, as it was written."""
    try:
        return isinstance(known, dict) and known.get("File") == path.name and known.get("SHA256") == sha256(path)
    except OSError:
        return False


def _record_of(target: Path) -> dict[str, Any]:
    """The record of an output of ours by this name."""
    path = sidecar_of(target)
    if not path.is_file():
        raise _left_alone(target, f"no record ({path.name} is not there)")
    try:
        record = read_json(path)
    except (OSError, ValueError):
        record = None
    ours = isinstance(record, dict) and record.get("Schema") == SCHEMA and isinstance(record.get("Provenance"), dict)
    if not ours or "Verdict" not in record:
        raise _left_alone(target, f"no record ({path.name} is not one)")
    if record.get("Output") != escape_bytes(target.name):
        raise _left_alone(target, f"no record ({path.name} is that of {record.get('Output')})")
    return dict(record)


def _labels_file(target: Path, policy: Policy, proof: dict[str, Any]) -> list[str]:
    if policy.labels_file == "none":
        return []
    path = label_file(target, policy.labels_file)
    if not path.exists():
        return [f"file changed ({path.name} is not there)"]
    known = proof.get("LabelsFile")
    if not isinstance(known, dict) or known.get("SHA256") != sha256(path):
        raise _left_alone(path, f"file changed (it is not the one that {sidecar_of(target).name} proves)")
    return []


def _options(record: dict[str, Any], policy: Policy, request: Mapping[str, Any]) -> list[str]:
    changed = [
        *_changed(record.get("Policy"), policy.as_json(), _SAME_ANYWAY),
        *_changed(record.get("Request"), json.loads(as_text(request)), _SHOWN_BY_INPUTS),
    ]
    return [f"options changed ({', '.join(changed)})"] if changed else []


def _changed(was: Any, now: Mapping[str, Any], but: Iterable[str]) -> list[str]:
    if not isinstance(was, dict):
        return ["the record does not say what was asked for"]
    return [
        f"{name} was {json.dumps(was.get(name))}"
        for name in sorted({*was, *now})
        if name not in but and (name not in was or name not in now or was[name] != now[name])
    ]


def _inputs(proof: dict[str, Any], inputs: Digests) -> list[str]:
    try:
        was = Counter((str(entry.get("Role", "")), str(entry["SHA256"])) for entry in proof["Inputs"])
    except (KeyError, TypeError, AttributeError):
        return ["inputs changed (the record does not name them)"]
    new, gone = Counter(inputs) - was, was - Counter(inputs)
    if not new and not gone:
        return []
    return [f"inputs changed ({new.total()} new or different, {gone.total()} gone or different)"]


def _left_alone(path: Path, why: str) -> PipelineError:
    return refuse(
        Code.OUTPUT_EXISTS,
        f"{path.name} is already there, is STALE, and was left alone: {why}",
        "-w skip passes over, or makes anew, only what its record proves. -w overwrite replaces it, -w suffix writes "
        "beside it.",
        where=(path.name,),
    )
