"""Explain an affine in words and numbers to someone who has never seen DICOM. Returns text; prints nothing.

Rules:
- One line of thought: what the series says, what a step does, the matrix in LPS, the two signs, the file in RAS.
- Every number shown is the one that is used; nothing is rounded to look better than it is, but to four decimals.
- The patient's directions are spelt out (left, back, head), never only lettered.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..crosscheck.dicom2nifti import stored_order
from ..geometry.affine import LPS_TO_RAS, Matrix, axis_codes, axis_lengths
from ..geometry.axis_order import AS_IS, describe_difference
from ..geometry.grid import Grid, Plane

_TOWARDS = (("right", "left"), ("front", "back"), ("feet", "head"))
_WORDS = {"L": "left", "R": "right", "P": "back", "A": "front", "S": "head", "I": "feet"}
_PARALLEL = 1e-6  # a component below this is rounding, not a lean
_CARE_DEGREES = 0.01  # less is the rounding of printed cosines, and is shown but not explained
_SHOWN_AS_ZERO = 5e-5  # rounds to 0 at four decimals


def explain(
    grid: Grid, plane: Plane, *, title: str = "This series", said_by: str = "the headers", about: Sequence[str] = ()
) -> str:
    """Explain how the affine of a series follows from its headers.

    Args:
        grid: where the series lies (LPS, mm).
        plane: its first plane (k = 0), whose numbers are quoted as DICOM states them.
        title: what the text calls the series.
        said_by: what holds these numbers, where it is not the headers themselves.
        about: lines that come before the numbers, on what kind of series it is.

    Returns: the text, several lines without a last line break.
    """
    columns, rows, planes = grid.shape
    numbers = " \\ ".join(f"{c + 0.0:g}" for c in (*plane.row_cosine, *plane.column_cosine))
    position = " \\ ".join(f"{c + 0.0:g}" for c in plane.position)
    lines = [
        f"{title}: {planes} plane{'s' * (planes != 1)} of {columns} columns × {rows} rows",
        "",
        *about,
        f"What {said_by} say",
        f"  Image Orientation (Patient)  {numbers}",
        f"  Image Position (Patient)     {position}   of the first plane, its first pixel's centre, mm",
        f"  Pixel Spacing                {plane.row_spacing:g} \\ {plane.column_spacing:g}   "
        "between rows, then between columns, mm",
        "",
        "DICOM counts in LPS: x grows to the patient's left, y to the back, z to the head. A cosine is a direction: "
        "how much of one mm goes left, back and head (below zero: right, front, feet).",
        f"  row cosine     {_format_vector(plane.row_cosine)}   along a row:     {describe_direction(plane.row_cosine)}",
        f"  column cosine  {_format_vector(plane.column_cosine)}   down a column:   {describe_direction(plane.column_cosine)}",
        f"  normal         {_format_vector(plane.normal)}   row × column:    {describe_direction(plane.normal)}",
        "",
        "What one step does",
        *_describe_steps(grid),
        "",
        *_describe_columns(grid, plane),
        *_format_matrix(grid.lps, " xyz"),
        "",
        "NIfTI counts in RAS: x grows to the right, y to the front, z to the head. Left is minus right and "
        "back is minus front, so the first two rows change sign; the third stays. No voxel moves, none is flipped.",
        *_format_matrix(grid.ras, " RAS"),
        *_describe_codes(grid.ras),
        *_show_middle(grid),
        "",
        *_compare_with_dicom2nifti(grid),
        "",
        *_write_snippet(grid.ras),
    ]
    return "\n".join(lines)


def explain_affine(ras: Matrix, shape: Sequence[int], *, title: str = "This file") -> str:
    """Explain what the affine of a NIfTI file says.

    Args:
        ras: 4 x 4, voxel index to RAS mm.
        shape: the (i, j, k) shape of the file; further dimensions are ignored.
        title: what the text calls the file.

    Returns: the text, several lines without a last line break.

    Raises: numpy.linalg.LinAlgError for an affine that puts a block of voxels on a plane.
    """
    np.linalg.inv(ras)
    middle = (ras @ np.append((np.array(shape[:3]) - 1) / 2, 1))[:3]
    lines = [
        f"{title}: {' × '.join(map(str, shape[:3]))} voxels",
        "",
        "NIfTI counts in RAS: x grows to the patient's right, y to the front, z to the head.",
        *_format_matrix(ras, " RAS"),
        *_describe_codes(ras),
        "",
        "What one step does",
        *_describe_axes(LPS_TO_RAS @ ras, ("i", "j", "k")),
        *_warn_of_axes(ras),
        "",
        f"The first voxel's centre lies at R {ras[0, 3]:.4f}, A {ras[1, 3]:.4f}, S {ras[2, 3]:.4f} mm,",
        f"the middle of the block at R {middle[0]:.4f}, A {middle[1]:.4f}, S {middle[2]:.4f} mm.",
        "",
        "The same in DICOM's LPS (the first two rows change sign):",
        *_format_matrix(LPS_TO_RAS @ ras, " xyz"),
        "",
        "An affine belongs to one order of its array. This one says nothing of how the array is really stored:",
        "only the voxels, held against the series they came from, can tell (verimask diagnose).",
    ]
    return "\n".join(lines)


def describe_direction(cosines: ArrayLike) -> str:
    """Describe where an LPS direction points in the patient: 'to the left', or with how far it is off and towards what."""
    d = np.asarray(cosines, float)
    d = d / np.linalg.norm(d)
    main = int(np.argmax(np.abs(d)))
    words = f"to the {_TOWARDS[main][int(d[main] > 0)]}"
    others = sorted((n for n in range(3) if n != main and abs(d[n]) > _PARALLEL), key=lambda n: -abs(d[n]))
    if not others:
        return words
    off = float(np.degrees(np.arctan2(np.linalg.norm(np.delete(d, main)), abs(d[main]))))
    if off < _CARE_DEGREES:
        return f"{words} ({off:.4f}° off)"
    leans = " and ".join(f"{np.degrees(np.arcsin(abs(d[n]))):.1f}° to the {_TOWARDS[n][int(d[n] > 0)]}" for n in others)
    return f"{words}, {off:.1f}° off it: {leans}"


def _describe_steps(grid: Grid) -> list[str]:
    lines = _describe_axes(grid.lps, ("i, to the next column", "j, to the next row", "k, to the next plane"))
    if grid.shape[2] == 1:
        lines.append("  There is one plane only, so the step of k is assumed: no position gives it.")
    if grid.shear_degrees > _CARE_DEGREES:
        lines.append(
            f"  The planes lean by {grid.shear_degrees:.2f}° against their normal (gantry tilt); the step of k keeps it."
        )
    return lines


def _describe_columns(grid: Grid, plane: Plane) -> list[str]:
    """Say what each column of the matrix is made of."""
    step = (
        "one step from plane to plane, by the positions of all of them"
        if grid.shape[2] > 1
        else "the normal × that step"
    )
    return [
        "So in LPS, column by column, in mm: one step of i (the row cosine × "
        f"{plane.column_spacing:g}, the second number of Pixel Spacing), of j (the column cosine × {plane.row_spacing:g}, the "
        f"first), of k ({step}), and the centre of the first voxel (the position of the first plane)"
    ]


def _show_middle(grid: Grid) -> list[str]:
    """Compute where one voxel lies, as anybody can by hand."""
    i, j, k = ((n - 1) // 2 for n in grid.shape)
    x, y, z = (grid.ras @ (i, j, k, 1))[:3] + 0.0
    return [
        f"  for example voxel ({i}, {j}, {k}) lies at {i} × the column of i + {j} × that of j + {k} × that of k + the first: "
        f"R {x:.4f}, A {y:.4f}, S {z:.4f} mm"
    ]


def _describe_axes(lps: Matrix, names: Sequence[str]) -> list[str]:
    lengths = [f"{length:.4f}" for length in axis_lengths(lps)]
    wide, deep = max(map(len, names)), max(map(len, lengths))
    return [
        f"  {name:{wide}}  {length:>{deep}} mm  {describe_direction(lps[:3, axis])}"
        for axis, (name, length) in enumerate(zip(names, lengths, strict=True))
    ]


def _describe_codes(ras: Matrix) -> list[str]:
    codes = axis_codes(ras)
    spelt = ", ".join(f"{axis} to the {_WORDS[letter]}" for axis, letter in zip("ijk", codes, strict=True))
    near = "" if _is_parallel(ras) else " (nearest axes)"
    return [f"  orientation code {codes}: {spelt}{near}"]


def _compare_with_dicom2nifti(grid: Grid) -> list[str]:
    order = stored_order(grid.ras)
    theirs = grid.ras @ order.matrix(grid.shape)
    if order == AS_IS:
        return ["dicom2nifti stores LAS by default: that is this very order, so its matrix is the one above."]
    shape, corner = order.shape(grid.shape), order.matrix(grid.shape)[:3, 3]
    return [
        "dicom2nifti stores LAS by default (left, front, head). It rearranges the array to get there:",
        f"  {describe_difference(order, AS_IS)}. It has {' × '.join(map(str, shape))} voxels; "
        f"its first is our ({', '.join(map(str, corner))})",
        "and its matrix is then",
        *_format_matrix(theirs, " RAS"),
        "It looks different and is the same place: its voxel and ours, where the patient has the same point, have "
        "the same RAS coordinates. But each matrix belongs to its own array. Put on the other, it mirrors or turns it.",
    ]


def _write_snippet(ras: Matrix) -> list[str]:
    rows = [", ".join(f"{float(v) + 0.0!r}" for v in row) for row in ras]
    return [
        "For nibabel, with the array as (i, j, k) = (column, row, plane):",
        "  affine = np.array([",
        *(f"      [{row}]," for row in rows),
        "  ])",
        "  nibabel.Nifti1Image(array, affine)",
    ]


def _warn_of_axes(ras: Matrix) -> list[str]:
    lines = []
    axes = ras[:3, :3] / axis_lengths(ras)
    if np.linalg.det(axes) < 0:
        lines.append(
            "  i, j and k form a left hand (determinant below zero), as in every LAS file: usual, and no error."
        )
    cosine = max(abs(float(axes[:, a] @ axes[:, b])) for a, b in ((0, 1), (0, 2), (1, 2)))
    lean = float(np.degrees(np.arcsin(min(cosine, 1.0))))
    if lean > _CARE_DEGREES:
        lines.append(
            f"  The axes are {lean:.2f}° from being at right angles (shear); software built on ITK refuses this."
        )
    return lines


def _is_parallel(affine: Matrix) -> bool:
    axes = affine[:3, :3] / axis_lengths(affine)
    return bool((np.abs(axes).max(axis=0) > 1 - _PARALLEL**2).all())


def _format_matrix(affine: Matrix, rows: str) -> list[str]:
    """Align the first three rows, each with the letter of its world axis."""
    cells = [[f"{v + 0.0:.4f}" for v in row] for row in np.where(np.abs(affine[:3]) < _SHOWN_AS_ZERO, 0, affine[:3])]
    widths = [max(len(row[c]) for row in cells) for c in range(4)]
    lines = []
    for letter, row in zip(rows.strip(), cells, strict=True):
        lines.append(f"    {letter}  " + "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)))
    head = "       " + "  ".join(
        name.rjust(width) for name, width in zip(("i", "j", "k", "first"), widths, strict=True)
    )
    return [head, *lines]


def _format_vector(values: ArrayLike) -> str:
    return "(" + " ".join(f"{v + 0.0:8.4f}" for v in np.asarray(values, float)) + ")"
