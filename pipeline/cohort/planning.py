"""Plan a cohort: look at the inputs, link, name and group what is there, and write the plan.

Rules:
- Nothing is converted here, and only the index and the plan are written.
- What the user has settled in a table comes first; what he calls "ignore" is seen and left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

from .build_cases import Known, build_cases
from .dataset import dataset_of
from .facts import SeriesFacts
from .index import Changes, Index
from .links import link
from .plan import CohortOptions, Plan, private_folder, read_plan, write_plan
from .subjects import SubjectRules, name_subjects
from .table_given import GivenTable, read_given_table

_NUMBERS = "subject numbers"  # in the index: what subjects were called before


class CohortRequest(NamedTuple):
    """What is asked for. rules: how subjects and sessions are named. table: that the user gives back. images: which are written."""

    inputs: tuple[Path, ...]
    out: Path
    options: CohortOptions
    rules: SubjectRules
    table: Path | None = None
    images: Literal["partners", "all"] = "partners"


class Planned(NamedTuple):
    """A plan, with what it was made of. changes: of the inputs since the last time."""

    plan: Plan
    facts: Mapping[str, SeriesFacts]
    changes: Changes


def plan_cohort(request: CohortRequest, index: Index, progress: Callable[[str, int, int], None]) -> Planned:
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
    facts = {one.key: one for one in index.series()}
    table = GivenTable({}, {}, {}, {}) if request.table is None else read_given_table(request.table, facts)
    facts = {key: replace(one, role=table.roles.get(key, one.role)) for key, one in facts.items()}
    return Planned(_write(request, index, facts, table, dataset), facts, changes)
