"""Plan a cohort: look at the inputs, link, name and group what is there, and write the plan.

Rules:
- Nothing is converted here, and only the index and the plan are written.
- What the user has settled in a table comes first; what he calls "ignore" is seen and left out.
"""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256 as new_digest
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from ..core.given_path import look_at_input
from ..core.table_cells import write_cell
from ..core.version import __version__
from ..dicom.source_file import sha256
from .facts import SeriesFacts
from .index.index import Changes, Index
from .plan import SCHEMA, CohortOptions, CohortPlan, private_folder, read_plan, write_plan
from .privacy import cohort_cleaner
from .public_rows import public_key
from .subjects.subjects import SubjectRules
from .table import write_text

if TYPE_CHECKING:
    from ..conversion.request import Progress
    from .build_cases import Known
    from .case import Case
    from .dataset import Dataset
    from .subjects.table_given import TableGiven

_LAST = "last plan"  # in the index
_NAMES = "subject names"  # in the index: what subjects were called before
_TABLE = "given table"  # in the index: what the user settled last


class CohortRequest(NamedTuple):
    """What is asked for. rules: how subjects and sessions are named. table: that the user gives back. images: which are written."""

    inputs: tuple[Path, ...]
    out: Path
    options: CohortOptions
    rules: SubjectRules
    table: Path | None = None
    images: Literal["partners", "all"] = "partners"


class Planned(NamedTuple):
    """A plan, with what it was made of: nothing where it is that of the last time.

    facts, subjects: by key. series: how many there are. notes: what is odd. changes: of the inputs. is_last: whether inputs and
    request are those of the last time.
    """

    plan: CohortPlan
    facts: Mapping[str, SeriesFacts]
    subjects: Mapping[str, tuple[str, str]]
    series: int
    notes: tuple[str, ...]
    changes: Changes
    is_last: bool = False

    def cleaned_facts(self) -> Iterator[SeriesFacts]:
        """The facts without what identifies a patient, for whatever is written of their names."""
        clean = cohort_cleaner(self.facts.values(), self.subjects).clean
        for facts in self.facts.values():
            masks = tuple(mask._replace(name=clean(mask.name)) for mask in facts.masks)
            yield replace(facts, description=clean(facts.description), folder="", identifiers=(), masks=masks)


class _LastPlan(NamedTuple):
    """What the index keeps of a plan. request: its digest. name: of the file."""

    request: str
    name: str
    series: int
    notes: list[str]


def plan_cohort(request: CohortRequest, index: Index, progress: Progress, *, anew: bool = False) -> Planned:
    """Look at the inputs and write a plan, unless nothing is another than the last time.

    Args:
        request: what is asked for.
        index: of the output folder, open for writing.
        progress: called with the stage, how much is done, and of how much.
        anew: whether the facts are wanted, so that all is planned whatever was.

    Returns: the plan.

    Raises: PipelineError for what refuses all of it: labels, the table, subjects that cannot be named.
    """
    from .dataset import dataset_of

    folder, digest = private_folder(request.out) / "plans", _digest(request, index)
    last = _LastPlan(*json.loads(index.meta(_LAST) or '["", "", 0, []]'))
    index.set_meta(_LAST, "")  # what breaks off from here on must not leave the plan of other inputs
    changes = index.update(request.inputs, progress)
    if index.is_as_it_was and last.request == digest and (folder / last.name).exists() and not anew:
        index.set_meta(_LAST, json.dumps(last))
        return Planned(read_plan(folder / last.name), {}, {}, last.series, tuple(last.notes), changes, is_last=True)
    planned = _plan_anew(request, index, changes, dataset_of(request.options))
    last = _LastPlan(_digest(request, index), planned.plan.path.name, planned.series, list(planned.notes))
    index.set_meta(_LAST, json.dumps(last))
    return planned


def _digest(request: CohortRequest, index: Index) -> str:
    """The SHA-256 of all that a plan follows from, beside the inputs."""
    if request.table is None:
        table = index.meta(_TABLE) or ""
    else:  # one that is not there is refused when it is read
        table = sha256(request.table) if look_at_input(request.table).is_file else secrets.token_hex()
    rules = request.rules._replace(salt=new_digest(request.rules.salt).digest())
    inputs = [str(path.absolute()) for path in request.inputs]
    return new_digest(
        repr((__version__, SCHEMA, inputs, request.options, rules, table, request.images)).encode()
    ).hexdigest()


def _plan_anew(request: CohortRequest, index: Index, changes: Changes, dataset: Dataset) -> Planned:
    """Link, name and group all that the index knows."""
    from .build_cases import Known, build_cases
    from .links import link
    from .subjects.subjects import name_subjects

    series = [replace(one, identifiers=() if request.rules.public else one.identifiers) for one in index.series()]
    given = _settle(request, index, series)
    series = given.with_roles(series)
    facts = {one.key: one for one in series}
    rules = request.rules._replace(subjects=given.subjects, sessions=given.sessions, index_salt=index.salt)
    names = name_subjects(series, rules, json.loads(index.meta(_NAMES) or "{}"))
    index.set_meta(_NAMES, json.dumps(names.known, sort_keys=True))
    subjects = {key: names.places.get(key, ("", "")) for key in facts}
    named = [one for one in series if one.key not in names.refused]
    links = link(named, index.holds, given.images, {key: place[0] for key, place in subjects.items()})
    known = Known(
        facts,
        links,
        subjects,
        index,
        dataset.layout,
        dataset.label_map,
        request.images,
        names.refused,
        cleaner=cohort_cleaner(facts.values(), subjects),
        root=index.root,
        policy=request.options.policy,
        salt=index.salt,
    )
    built = build_cases(known)
    path = write_plan(private_folder(request.out) / "plans", request.options, built.cases, built.rows, built.named)
    write_text(private_folder(request.out) / "subjects.tsv", _who_is_who(facts.values(), subjects))
    notes = [f"{finding.message}. {finding.hint}".removesuffix(". ") for finding in names.findings]
    notes += _notes(known, index, built.cases, dataset, request.table is None and any(given))
    return Planned(read_plan(path), facts, subjects, len(facts), tuple(notes), changes)


def _settle(request: CohortRequest, index: Index, series: Sequence[SeriesFacts]) -> TableGiven:
    """What the table settles that is given, or was given last."""
    from .subjects.table_given import read_table

    if request.table is None:
        return _settled(index, {one.key for one in series})
    strips = request.options.policy.strips_uids
    given = read_table(request.table, series, {public_key(one.key, index.salt): one.key for one in series if strips})
    index.set_meta(_TABLE, json.dumps(given, sort_keys=True))
    return given


def _settled(index: Index, keys: Collection[str]) -> TableGiven:
    """What the table settles that was given last, of series that are here."""
    from .subjects.table_given import TableGiven

    last = json.loads(index.meta(_TABLE) or "[{}, {}, {}, {}]")
    subjects, sessions, images, roles = ({key: value for key, value in one.items() if key in keys} for one in last)
    known = {mask: tuple(image for image in several if image in keys) for mask, several in images.items()}
    return TableGiven(subjects, sessions, {mask: several for mask, several in known.items() if several}, roles)


def _who_is_who(facts: Iterable[SeriesFacts], subjects: Mapping[str, tuple[str, str]]) -> str:
    """Subject, session, folder and identifiers of every series: the private key of the data set."""
    rows = {(*subjects[one.key], one.folder, " | ".join(one.identifiers)) for one in facts}
    lines = ["subject\tsession\tfolder\tidentifiers", *("\t".join(map(write_cell, row)) for row in sorted(rows))]
    return "\n".join(lines) + "\n"


def _notes(known: Known, index: Index, cases: Sequence[Case], dataset: Dataset, is_settled: bool) -> Iterator[str]:
    """Say what a person should know of a plan, beside what is odd of subjects."""
    facts, subjects = known.facts, known.subjects
    if any(place[0] and place[0] not in facts[key].folder.split("/") for key, place in subjects.items()):
        yield "subjects have names of their own; .verimask/subjects.tsv says whose each is, and is private"
    if is_settled:
        yield "what the table settled that was given last is kept; give another one with --table to change it"
    left = Counter(code for _, code, _ in index.left_out())
    if left:
        yield f"{left.total()} files belong to no series: " + ", ".join(
            f"{n} {code}" for code, n in sorted(left.items())
        )
    modalities = sorted({case.images[0].modality for case in cases})
    if dataset.layout.needs_labels and len(modalities) > 1 and not dataset.layout.settings.channels:
        yield (
            f"images of {', '.join(modalities)} are one channel here, as if they were alike; [[channels]] in labels.toml "
            "says which image is which"
        )
