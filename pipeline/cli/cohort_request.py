"""Read what was typed to `verimask cohort`, and refuse places that are somebody's."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from . import output

if TYPE_CHECKING:
    from ..cohort.plan import CohortOptions
    from ..cohort.planning import CohortRequest

_SHORTEST_SALT = 16  # bytes


def read_request(options: argparse.Namespace) -> CohortRequest:
    """Read what is asked for. Raises PipelineError for options that are not allowed, and files that cannot be read."""
    from ..cohort.planning import CohortRequest
    from ..cohort.subjects.subjects import SubjectRules
    from ..core.arguments import check_whole

    if options.jobs is not None:
        check_whole("jobs", options.jobs, 1)
    return CohortRequest(
        inputs=tuple(Path(path) for path in options.inputs),
        out=Path(options.output),
        options=_cohort_options(options),
        rules=SubjectRules(
            subject="" if options.subject in (None, "table") else options.subject,
            session="" if options.session in (None, "none", "table") else options.session,
            salt=_read_salt(options),
            public=options.public_ids,
        ),
        table=Path(options.table) if options.table else None,
        images=options.images,
    )


def _read_salt(options: argparse.Namespace) -> bytes:
    """Read the salt of hashes. Raises NO_SUCH_INPUT, BAD_OPTION for one that is too short to be one."""
    from ..core.findings import Code, refuse

    if not options.salt:
        return b""
    if options.subject != "hash":
        output.refuse_idle(options, only=["salt"], why="it is for --subject hash")
    try:
        salt = Path(options.salt).read_bytes().strip()
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

    from ..cohort.labels.label_map_file import read_label_text
    from ..cohort.plan import CohortOptions
    from ..core.policy import Policy

    names = {field.name for field in fields(Policy)} - {"write"}
    policy = Policy(**{name: value for name, value in vars(options).items() if name in names})
    return CohortOptions(
        layout=options.layout,
        labels=read_label_text(Path(options.labels)) if options.labels else "",
        separate=options.separate,
        policy=policy,
        incomplete=options.incomplete,
        title=options.title or Path(options.output).resolve().name,
    )


def refuse_foreign(out: Path) -> None:
    """Refuse an output folder that holds something, and no cohort. Raises OUTPUT_EXISTS."""
    from ..cohort.plan import private_folder
    from ..core.findings import Code, refuse

    if not out.exists() or private_folder(out).is_dir():
        return
    if not out.is_dir() or any(out.iterdir()):
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{out} is there, and is no folder of a cohort; it was left alone",
            "Give -o a new or empty folder.",
            where=(out.name,),
        )


def refuse_existing(path: Path) -> None:
    """Refuse to write where a file is. Raises OUTPUT_EXISTS."""
    from ..core.findings import Code, refuse

    if path.exists():
        raise refuse(
            Code.OUTPUT_EXISTS,
            f"{path.name} is already there and was left alone",
            "Give --labels-draft another name.",
            where=(path.name,),
        )
