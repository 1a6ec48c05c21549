"""Plan a cohort: look at the inputs, link, name and group what is there, and write the plan.

Rules:
- Nothing is converted here, and only the index and the plan are written.
- What the user has settled in a table comes first; what he calls "ignore" is seen and left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from ..conversion.request import Progress
from ..core.findings import Finding
from .build_cases import Known, build_cases
from .dataset import dataset_of
from .facts import SeriesFacts
from .index import Changes, Index
from .links import link
from .plan import CohortOptions, Plan, private_folder, read_plan, write_plan
from .privacy import Cleaner
from .subjects import SubjectRules, name_subjects
from .table_given import TableGiven, read_table

_NAMES = "subject names"  # in the index: what subjects were called before


class CohortRequest(NamedTuple):
    """What is asked for. rules: how subjects and sessions are named. table: that the user gives back. images: which are written."""

    inputs: tuple[Path, ...]
    out: Path
    options: CohortOptions
    rules: SubjectRules
    table: Path | None = None
    images: Literal["partners", "all"] = "partners"


class Planned(NamedTuple):
    """A plan, with what it was made of. subjects: subject and session by key. notes: what is odd. changes: of the inputs."""

    plan: Plan
    facts: Mapping[str, SeriesFacts]
    subjects: Mapping[str, tuple[str, str]]
    notes: tuple[Finding, ...]
    changes: Changes

    def cleaned_facts(self) -> Iterator[SeriesFacts]:
        """The facts without what identifies a patient, for whatever is written of their names."""
        for facts in self.facts.values():
            subject = self.subjects.get(facts.key, ("", ""))[0]
            clean = Cleaner(dict.fromkeys(facts.identifiers, subject)).clean
            masks = tuple(mask._replace(name=clean(mask.name)) for mask in facts.masks)
            yield replace(facts, description=clean(facts.description), folder="", identifiers=(), masks=masks)


def plan_cohort(request: CohortRequest, index: Index, progress: Progress) -> Planned:
    """Look at the inputs and write a plan.

    Args:
        request: what is asked for.
        index: of the output folder, open for writing.
        progress: called with the stage, how much is done, and of how much.

    Returns: the plan.

    Raises: PipelineError for what refuses all of it: labels, the table, subjects that cannot be named.
    """
    dataset = dataset_of(request.options)
    changes = index.update(request.inputs, progress)
    series = [replace(one, identifiers=() if request.rules.public else one.identifiers) for one in index.series()]
    given = TableGiven({}, {}, {}, {}) if request.table is None else read_table(request.table, series)
    series = given.with_roles(series)
    facts = {one.key: one for one in series}
    rules = request.rules._replace(subjects=given.subjects, sessions=given.sessions, index_salt=index.salt)
    names = name_subjects(series, rules, json.loads(index.meta(_NAMES) or "{}"))
    index.set_meta(_NAMES, json.dumps(names.known, sort_keys=True))
    subjects = {key: names.places.get(key, ("", "")) for key in facts}
    named = [one for one in series if one.key not in names.refused]
    links = link(named, index.holds, given.images)
    known = Known(facts, links, subjects, index, dataset.layout, dataset.label_map, request.images, dict(names.refused))
    built = build_cases(known)
    path = write_plan(private_folder(request.out) / "plans", request.options, built.cases, built.rows)
    return Planned(read_plan(path), facts, subjects, names.findings, changes)
