"""Put a whole cohort together as one page: the odd cases first, with pictures, plots of the labels, and ratings.

Rules:
- Everything is in the page, and nothing of a patient but what cohort.tsv has. Without script it is a plain table.
- A file that is gone or is not the one of the table is said, and is not drawn.
- The same table, files and ratings give the same bytes, also where the pictures were kept from an earlier run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

from ..core.extras import require_extra
from ..core.findings import PipelineError
from ..core.workers import count_cores
from .case_files import CaseFiles, find_case_files, find_links
from .case_pictures import CasePictures, draw_case
from .cohort_table import UNPROVEN, PageCase, ml_of, read_cases
from .file_memory import FileMemory
from .label_plots import RULE, WIDTH, plot_labels
from .page import render
from .pictures import hex_of
from .ratings import COLUMNS, RATINGS, VALUES, Rating, match_ratings, read_ratings

_REMEMBERED = "files.json"  # beside the kept pictures
_KEPT = re.compile("[0-9a-f]{64}[.]json")
_MOST_CUTS = 16_000_000  # characters of large pictures: with the small ones, 1 000 cases stay under 30 MB
_MOST_PLOTS = 30  # labels that are plotted before the rest is folded away
_MOST_MASKS = 6  # of a row; the others are in its details
# What a case is shown as, in this order.
_GROUPS = {
    UNPROVEN: "a file is gone, or is not the one of the table",
    "REFUSED": "nothing was converted",
    "AMBIGUOUS": "masks that could lie on several images",
    "NO_IMAGE": "masks without an image",
    "INCOMPLETE": "a mask or label is missing",
    "DISPUTED": "a witness disagrees",
    "UNCONFIRMED": "nobody confirmed it",
    "WARNING": "with a finding to read",
    "OUTLIER": "a volume that is unusual for its label",
    "FINE": "nothing to look at",
    "NO_MASK": "images without a mask",
    "LEFT_OUT": "neither image nor mask",
}


class ShownMask(NamedTuple):
    """One mask of a row of the page. link: to its page or record, "" for none."""

    name: str
    ml: float | None
    colour: str
    outlier: bool
    link: str


class ShownCase(NamedTuple):
    """One row of the page.

    number: of the case, in the order of the table. colours: of each of its rows, "" where it is no mask. notes: what is
    wrong with its files and pictures.
    """

    number: int
    case: PageCase
    group: str
    pictures: CasePictures | None
    masks: tuple[ShownMask, ...]
    colours: tuple[str, ...]
    notes: tuple[str, ...]
    rating: Rating | None

    @property
    def total_ml(self) -> float:
        return sum(mask.ml or 0.0 for mask in self.masks)

    @property
    def is_old_rating(self) -> bool:
        """Whether its rating is of another state of its files."""
        return self.rating is not None and self.rating.outputs not in ("", self.case.state)


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
    files = [find_case_files(out, case, memory) for case in cases]
    memory.save()
    pictures = _draw_all(files, thumbnails, progress)
    return _render(out, cases, files, pictures, rated)


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
    if files.image is None and not files.masks:
        return None, ""
    try:
        return draw_case(files.image, list(files.masks.values()), kept)
    except PipelineError as error:
        return f"no picture: {error.finding.message}", ""


def _render(
    out: Path,
    cases: Sequence[PageCase],
    files: Sequence[CaseFiles],
    pictures: Sequence[CasePictures | str | None],
    rated: Sequence[Rating],
) -> str:
    axis, plots = plot_labels(cases)
    odd = {(dot.case, plot.name, dot.ml) for plot in plots for dot in plot.outliers}
    own, others = match_ratings(rated, cases)
    shown = []
    for n, (case, of_case, drawn) in enumerate(zip(cases, files, pictures, strict=True)):
        masks = _show_masks(out, n, case, of_case, odd)
        group = _group_of(case, any(mask.outlier for mask in masks))
        notes = (*case.problems.values(), *([drawn] if isinstance(drawn, str) else []))
        drawings = drawn if isinstance(drawn, CasePictures) else None
        shown.append(ShownCase(n, case, group, drawings, masks, _colours_of(case, of_case), notes, own.get(n)))
    groups = list(_GROUPS)
    shown.sort(key=lambda s: groups.index(s.group))
    counts = Counter(s.group for s in shown)
    return render(
        "cohort.html",
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
        data=_make_data(out, cases, shown, plots, rated, others),
        cuts=_choose_cuts(shown),
    )


def _group_of(case: PageCase, has_outlier: bool) -> str:
    if case.problems:
        return UNPROVEN
    if case.status != "DONE":
        return case.status if case.status in _GROUPS else "REFUSED"
    if case.verdict in _GROUPS:
        return case.verdict
    return "WARNING" if case.codes else "OUTLIER" if has_outlier else "FINE"


def _show_masks(
    out: Path, number: int, case: PageCase, files: CaseFiles, odd: set[tuple[int, str, float]]
) -> tuple[ShownMask, ...]:
    """Show the masks of a case, those with an unusual volume first."""
    found = []
    for row, colour in zip(case.masks, files.colours, strict=True):
        ml, links = ml_of(row), find_links(out, row)
        name = row["mask"] or row.get("series", "") or "mask"
        is_odd = ml is not None and (number, row["mask"], ml) in odd
        found.append(ShownMask(name, ml, hex_of(colour), is_odd, links.get("page", links.get("record", ""))))
    return tuple(sorted(found, key=lambda mask: not mask.outlier))


def _colours_of(case: PageCase, files: CaseFiles) -> tuple[str, ...]:
    colours = iter(files.colours)
    return tuple(hex_of(next(colours)) if row["role"] == "mask" else "" for row in case.rows)


def _list_choices(shown: Sequence[ShownCase], plots: Sequence[Any]) -> dict[str, list[str]]:
    """What the filters offer."""
    return {
        "status": list(dict.fromkeys(s.case.status for s in shown)),
        "code": sorted({code for s in shown for code in s.case.codes}),
        "label": [plot.name for plot in plots],
        "subject": list(dict.fromkeys(s.case.subject for s in sorted(shown, key=lambda s: s.number) if s.case.subject)),
    }


def _choose_cuts(shown: Sequence[ShownCase]) -> dict[int, list[Any]]:
    """The large pictures, those of odd cases first, as many as a page may hold."""
    found: dict[int, list[Any]] = {}
    left = _MOST_CUTS
    for one in shown:
        if one.pictures is not None:
            left -= sum(len(cut.webp) for cut in one.pictures.cuts)
            if left < 0:
                break
            found[one.number] = [list(cut) for cut in one.pictures.cuts]
    return found


def _make_data(
    out: Path,
    cases: Sequence[PageCase],
    shown: Sequence[ShownCase],
    plots: Sequence[Any],
    rated: Sequence[Rating],
    others: Sequence[Rating],
) -> dict[str, Any]:
    """What the script needs: of each case what filters and details show, and the ratings that were read."""
    columns = [
        c for c in (cases[0].rows[0] if cases else {}) if c not in ("subject", "session", "case", "inputs_sha256")
    ]
    by_number = {one.number: one for one in shown}
    found = []
    for n, case in enumerate(cases):
        one = by_number[n]
        found.append(
            {
                "id": [case.key, *case.name_parts, case.state],
                "status": case.status,
                "codes": case.codes,
                "labels": sorted({row["mask"] for row in case.masks if row["output"]}),
                "rating": list(one.rating[4:6]) if one.rating and not one.is_old_rating else ["", ""],
                "rows": [[row[column] for column in columns] for row in case.rows],
                "links": [find_links(out, row) for row in case.rows],
                "colours": one.colours,
                "notes": one.notes,
            }
        )
    digest = sha256(repr([tuple(rating) for rating in rated]).encode()).hexdigest()
    dots = [[[dot.case, dot.x] for dot in plot.dots] for plot in plots]
    return {
        "columns": columns,
        "cases": found,
        "dots": dots,
        "others": [list(rating) for rating in others],
        "table": {"name": RATINGS, "columns": COLUMNS, "values": VALUES, "digest": digest},
    }
