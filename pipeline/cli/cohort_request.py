"""Read what was typed to `verimask cohort`, and refuse what cannot be, before anything is written.

Rules:
- An option that can have no effect is refused, not passed over.
- Inputs, labels, table and rules are looked at first: a wrong one leaves no trace in the output folder.
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from ..cohort.plan import CohortOptions
    from ..cohort.planning import CohortRequest
    from ..core.findings import PipelineError

_NAMING = ("subject", "session", "salt", "public_ids", "table")  # fields of options
_SHORTEST_SALT = 16  # bytes


def read_request(options: argparse.Namespace) -> CohortRequest:
    """Read what is asked for. Raises PipelineError for options that are not allowed, and files that cannot be read."""
    from ..cohort.dataset import dataset_of
    from ..cohort.planning import CohortRequest
    from ..cohort.subjects.subjects import SubjectRules, name_subjects
    from ..cohort.subjects.table_given import read_table_text
    from ..core.arguments import check_whole
    from ..dicom.files import refuse_unreachable

    refuse_idle_options(options)
    if options.jobs is not None:
        check_whole("jobs", options.jobs, 1)
    request = CohortRequest(
        inputs=tuple(Path(path) for path in options.inputs),
        out=Path(options.output),
        options=_cohort_options(options),
        rules=SubjectRules(
            subject="" if options.subject in (None, "table") else options.subject,
            session="" if options.session in (None, "none", "table") else options.session,
            salt=_read_salt(options),
            public=options.public_ids,
            folders=options.keep_names or options.public_ids,
        ),
        table=Path(options.table) if options.table else None,
        images=options.images,
    )
    for path in request.inputs:
        refuse_unreachable(path)
    if request.table is not None:
        read_table_text(request.table)
    dataset_of(request.options)
    name_subjects((), request.rules, {})  # for nobody, to check the rules
    return request


def refuse_idle_options(options: argparse.Namespace) -> None:
    """Refuse options that can have no effect beside the others. Raises IDLE_OPTION, BAD_OPTION."""
    if options.labels_draft:
        takes = ("inputs", "output", "json", "quiet", "labels_draft", *_NAMING)
        output.refuse_idle(options, but=takes, why="--labels-draft writes the names of masks, and converts nothing")
    idle = {
        "part": "it is for cohort run PLAN",
        "separate": "" if options.labels else "it is for --labels",
        "title": "" if options.layout != "pairs" else "the layout pairs holds no name of the data set",
        "salt": "" if options.subject == "hash" else "it is for --subject hash",
    }
    for field, why in idle.items():
        if why:
            output.refuse_idle(options, only=(field,), why=why)
    for option, rule in (("--subject", options.subject), ("--session", options.session)):
        if rule == "table" and not options.table:
            raise _no_table(option)


def _no_table(option: str) -> PipelineError:
    from ..core.findings import Code, refuse

    return refuse(
        Code.BAD_OPTION,
        f"{option} table names no table",
        "Give it with --table: cohort.tsv with that column filled in.",
        where=(option,),
    )


def notes_of(options: argparse.Namespace) -> list[str]:
    """What the user should know of his options."""
    if options.subject == "hash" and not options.salt:
        return ["note: without --salt, hashes hold for this data set alone: elsewhere a patient has another one"]
    return []


def _read_salt(options: argparse.Namespace) -> bytes:
    """Read the salt of hashes. Raises NO_SUCH_INPUT, BAD_OPTION for one that is too short to be one."""
    from ..core.findings import Code, refuse
    from ..core.regular_file import read_bytes

    if not options.salt:
        return b""
    try:
        salt = read_bytes(options.salt).strip()
    except OSError as error:
        words = f"the salt {options.salt} cannot be read: {error.strerror}"
        raise refuse(Code.NO_SUCH_INPUT, words, "Check the path.", where=(options.salt,)) from error
    if len(salt) < _SHORTEST_SALT:
        raise refuse(
            Code.BAD_OPTION,
            f"the salt has {len(salt)} bytes, so few that names could be found by trying",
            f"Make one of {_SHORTEST_SALT} random bytes or more, and keep it secret.",
            where=("--salt",),
            measured=len(salt),
            limit=_SHORTEST_SALT,
            unit="bytes",
        )
    return salt


def _cohort_options(options: argparse.Namespace) -> CohortOptions:
    from dataclasses import fields

    from ..cohort.labels.label_map_file import parse_label_map, read_label_text
    from ..cohort.plan import CohortOptions
    from ..core.plain_text import escape_controls
    from ..core.policy import Policy

    labels = read_label_text(Path(options.labels)) if options.labels else ""
    if labels:
        parse_label_map(labels, Path(options.labels).name)  # a refusal names the file
    names = {field.name for field in fields(Policy)} - {"write"}
    policy = Policy(**{name: value for name, value in vars(options).items() if name in names})
    return CohortOptions(
        layout=options.layout,
        labels=labels,
        separate=options.separate,
        policy=policy,
        incomplete=options.incomplete,
        title=escape_controls(options.title or os.path.basename(os.path.realpath(options.output))),
    )


def refuse_foreign(out: Path) -> None:
    """Refuse an output folder that holds something, and no cohort. Raises OUTPUT_EXISTS, CANNOT_WRITE."""
    from ..cohort.plan import private_folder
    from ..core.findings import Code, refuse
    from ..core.given_path import list_output, look_at_output

    if not look_at_output(out).is_there or look_at_output(private_folder(out)).is_folder:
        return
    if not look_at_output(out).is_folder or list_output(out):
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{out} is there, and is no folder of a cohort; it was left alone",
            "Give -o a new or empty folder.",
            where=(out.name,),
        )


def refuse_existing(path: Path) -> None:
    """Refuse to write where a file is. Raises OUTPUT_EXISTS, CANNOT_WRITE."""
    from ..core.findings import Code, refuse
    from ..core.given_path import look_at_output

    if look_at_output(path).is_there:
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{path.name} is already there and was left alone",
            "Give --labels-draft another name.",
            where=(path.name,),
        )
