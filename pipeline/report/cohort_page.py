"""Put a whole cohort together as one page: the odd cases first, with pictures, plots of the labels, and ratings.

Rules:
- Everything is in the page, and nothing of a patient but what cohort.tsv has. Without script it is a plain table.
- A file that is gone or is not the one of the table is said, and is not drawn.
- The same table, files and ratings give the same bytes, also where the pictures were kept from an earlier run.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ..core.extras import require_extra
from ..core.findings import PipelineError
from ..core.workers import count_cores
from .case_pictures import CasePictures, MaskFile, draw_case
from .cohort_table import UNPROVEN, PageCase, TableLine, ml_of, read_cases
from .file_memory import FileMemory
from .label_plots import RULE, WIDTH, plot_labels
from .pictures import hex_of
from .ratings import RATINGS, RatedIdentity, Rating, ShownRating, describe_table, match_ratings, read_ratings
from .render import render, script_of
from .shown_files import CaseFiles, find_case_files

_REMEMBERED = "files.json"  # beside the kept pictures
_NO_CUTS = '<script type="application/json" id="cuts">{}</script>'  # no value can be this text: they are all escaped
_KEPT = re.compile("[0-9a-f]{64}[.]json")
_MOST_BYTES = 28_000_000  # of a page, before large pictures of further cases are left out
_MOST_PLOTS = 30  # labels that are plotted before the rest is folded away
_NOT_IN_DETAILS = (
    "subject",
    "session",
    "case",
    "inputs_sha256",
)  # columns that stand above the details, or help nobody there
_MOST_MASKS = 6  # of a row; the others are in its details
# What a case is shown as, in this order.
_GROUPS = {
    UNPROVEN: "a file is gone, or is not the one of the table",
    "REFUSED": "nothing was converted",
    "AMBIGUOUS": "masks that could lie on several images",
    "NO_IMAGE": "masks without an image",
    "INCOMPLETE": "a mask or label is missing",
    "GONE": "the inputs are not there any more",
    "NEW": "not made yet",
    "STALE": "the inputs changed since it was made",
    "OPTIONS CHANGED": "made with other options",
    "VERSION CHANGED": "made by another version",
    "FAILED": "to be made again",
    "DISPUTED": "a witness disagrees",
    "UNCONFIRMED": "nobody confirmed it",
    "WARNING": "with a finding to read",
    "OUTLIER": "a volume that is unusual for its label",
    "FINE": "nothing to look at",
    "NO_MASK": "images without a mask",
    "LEFT_OUT": "neither image nor mask",
}


class ShownMask(NamedTuple):
    """One mask of a row of the page. colour: of its outline, "" for none. link: to its page or record, "" for none."""

    name: str
    ml: float | None
    colour: str
    outlier: bool
    link: str


class ShownCase(NamedTuple):
    """One row of the page.

    number: of the case, in the order of the table. masks: as `case.masks`. links: by output. notes: what is wrong with its
    files and pictures.
    """

    number: int
    case: PageCase
    group: str
    pictures: CasePictures | None
    masks: tuple[ShownMask, ...]
    links: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]
    rating: ShownRating

    @property
    def odd_first(self) -> list[ShownMask]:
        """Its masks, those with an unusual volume first."""
        return sorted(self.masks, key=lambda mask: not mask.outlier)

    @property
    def total_ml(self) -> float | None:
        """The volume of all its masks, None where none has one."""
        volumes = [mask.ml for mask in self.masks if mask.ml is not None]
        return sum(volumes) if volumes else None

    @property
    def colours(self) -> list[str]:
        """The colour of each row, "" where it is not drawn as an outline."""
        masks = iter(self.masks)
        return [next(masks).colour if row["role"] == "mask" else "" for row in self.case.rows]


def make_cohort_page(
    out: Path,
    *,
    ratings: Path | None = None,
    thumbnails: Path | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> str:
    """Make the page of a cohort, for OUT/cohort.html.

    Args:
        out: the folder of cohort.tsv and of the files it names.
        ratings: a table that the page saved; OUT/ratings.tsv when None, where it is there.
        thumbnails: a private folder in which pictures and file times are kept for the next run; none are when None.
        progress: is called with the number of cases drawn so far, and of all.

    Returns:
        The HTML text.

    Raises:
        PipelineError: NO_SUCH_INPUT, NOT_A_COHORT, BAD_RATINGS, NO_REPORT_PACKAGE, CANNOT_WRITE.
    """
    require_extra("report")
    if thumbnails is not None:
        thumbnails.mkdir(parents=True, exist_ok=True)
    memory = FileMemory(None if thumbnails is None else thumbnails / _REMEMBERED)
    given = ratings or (out / RATINGS if (out / RATINGS).exists() else None)
    rated = () if given is None else read_ratings(given)
    cases = read_cases(out, memory)
    files = [find_case_files(case, memory) for case in cases]
    memory.save()
    pictures = _draw_all(files, thumbnails, progress)
    return _render(cases, files, pictures, rated)


def _draw_all(
    files: Sequence[CaseFiles], kept: Path | None, progress: Callable[[int, int], None]
) -> list[CasePictures | str | None]:
    """Draw every case: its pictures, why there are none, or None where there is nothing to draw."""
    found: list[CasePictures | str | None] = []
    names = set()
    with ThreadPoolExecutor(count_cores()) as pool:
        for drawn, name in pool.map(lambda case: _draw_one(case, kept), files):
            found.append(drawn)
            names.add(name)
            progress(len(found), len(files))
    if kept is not None:  # What no case has any more is not kept for ever.
        for path in kept.iterdir():
            if _KEPT.fullmatch(path.name) and path.name not in names:
                path.unlink(missing_ok=True)
    return found


def _draw_one(files: CaseFiles, kept: Path | None) -> tuple[CasePictures | str | None, str]:
    if files.image is None and not files.drawn:
        return None, ""
    try:
        return draw_case(files.image, files.drawn, kept)
    except PipelineError as error:
        return f"no picture: {error.finding.message}", ""


def _render(
    cases: Sequence[PageCase],
    files: Sequence[CaseFiles],
    pictures: Sequence[CasePictures | str | None],
    rated: Sequence[Rating],
) -> str:
    axis, plots = plot_labels(cases)
    odd: dict[int, set[tuple[str, float]]] = defaultdict(set)
    for plot in plots:
        for dot in plot.outliers:
            odd[dot.case].add((plot.name, dot.ml))
    own, others = match_ratings(rated, [_identify(case) for case in cases])
    shown = [_show_case(n, case, files[n], pictures[n], odd[n], own.get(n)) for n, case in enumerate(cases)]
    groups = list(_GROUPS)
    shown.sort(key=lambda s: groups.index(s.group))
    counts = Counter(s.group for s in shown)
    page = render(
        "cohort.html",
        styles=("cohort.css",),
        scripts=(script_of("shared.js", "cohort.js"),),
        title="Cohort",
        shown=shown,
        groups=[(name, counts[name], words) for name, words in _GROUPS.items() if counts[name]],
        axis=axis,
        plots=plots,
        most_plots=_MOST_PLOTS,
        most_masks=_MOST_MASKS,
        width=WIDTH,
        rule=RULE,
        choices=_list_choices(shown, plots),
        data=_make_data(shown, plots, others),
    )
    return page.replace(_NO_CUTS, _NO_CUTS.replace("{}", _dump_cuts(shown, _MOST_BYTES - len(page.encode()))))


def _identify(case: PageCase) -> RatedIdentity:
    return RatedIdentity(case.key, *case.name_parts, case.state)


def _group_of(case: PageCase, has_outlier: bool) -> str:
    if case.problems:
        return UNPROVEN
    if case.status != "DONE":
        return case.status if case.status in _GROUPS else "REFUSED"
    if case.verdict in _GROUPS:
        return case.verdict
    return "WARNING" if case.codes else "OUTLIER" if has_outlier else "FINE"


def _show_case(
    number: int,
    case: PageCase,
    files: CaseFiles,
    drawn: CasePictures | str | None,
    odd: Collection[tuple[str, float]],
    rating: Rating | None,
) -> ShownCase:
    masks = tuple(_show_mask(row, mask, files, odd) for row, mask in zip(case.masks, files.masks, strict=True))
    notes = (*case.problems.values(), *([drawn] if isinstance(drawn, str) else []))
    return ShownCase(
        number,
        case,
        _group_of(case, any(mask.outlier for mask in masks)),
        drawn if isinstance(drawn, CasePictures) else None,
        masks,
        files.links,
        notes,
        ShownRating.of(rating, _identify(case)),
    )


def _show_mask(
    row: TableLine, drawn: MaskFile | None, files: CaseFiles, odd: Collection[tuple[str, float]]
) -> ShownMask:
    ml, links = ml_of(row), files.links.get(row["output"], {})
    return ShownMask(
        row["mask"] or row.get("series", "") or "mask",
        ml,
        "" if drawn is None else hex_of(drawn.colour),
        ml is not None and (row["mask"], ml) in odd,
        links.get("page", links.get("record", "")),
    )


def _list_choices(shown: Sequence[ShownCase], plots: Sequence[Any]) -> dict[str, list[str]]:
    """What the filters offer."""
    return {
        "status": list(dict.fromkeys(s.case.status for s in shown)),
        "code": sorted({code for s in shown for code in s.case.codes}),
        "label": [plot.name for plot in plots],
        "subject": list(dict.fromkeys(s.case.subject for s in sorted(shown, key=lambda s: s.number) if s.case.subject)),
    }


def _dump_cuts(shown: Sequence[ShownCase], most: int) -> str:
    """The large pictures by the number of the case, those of odd cases first, as JSON of `most` bytes or less."""
    parts: list[str] = []
    for one in shown:
        if one.pictures is not None:
            part = json.dumps({one.number: one.pictures.cuts})[1:-1].replace("<", "\\u003c")
            most -= len(part) + 1
            if most < 0:
                break
            parts.append(part)
    return f"{{{','.join(parts)}}}"


def _make_data(shown: Sequence[ShownCase], plots: Sequence[Any], others: Sequence[Rating]) -> dict[str, Any]:
    """What the script needs: of each case what filters and details show, and the ratings that were read."""
    columns = [c for c in (shown[0].case.rows[0] if shown else {}) if c not in _NOT_IN_DETAILS]
    found = []
    for one in sorted(shown, key=lambda s: s.number):
        case = one.case
        found.append(
            {
                "id": list(_identify(case)),
                "status": case.status,
                "codes": case.codes,
                "labels": sorted({row["mask"] for row in case.masks if row["output"]}),
                "rating": list(one.rating[:2]),
                "rows": [[row[column] for column in columns] for row in case.rows],
                "links": [one.links.get(row["output"], {}) for row in case.rows],
                "colours": one.colours,
                "notes": one.notes,
            }
        )
    dots = [[[dot.case, dot.x] for dot in plot.dots] for plot in plots]
    return {
        "columns": columns,
        "cases": found,
        "dots": dots,
        "others": [list(rating) for rating in others],
        "table": describe_table(RATINGS),
    }
