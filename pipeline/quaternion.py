"""The qform of a NIfTI header: an affine as quaternion, zooms and handedness (NIfTI-1, method 2), and back."""

from __future__ import annotations

import numpy as np

from pipeline.geometry import Matrix, corner_indices


def quaternion(sform: Matrix, shape: tuple[int, ...]) -> tuple[float, Matrix, Matrix]:
    """qfac, (b, c, d) and zooms of the qform nearest to an affine (NIfTI-1, method 2), as float32 can hold them.

    Near half turns, where most axial images are, a small error of b, c, d is a large one of the angle, since
    a = sqrt(1 - b² - c² - d²). So the neighbouring floats are tried too, and the best set is taken.
    """
    zooms = np.linalg.norm(sform[:3, :3], axis=0)
    rotation = sform[:3, :3] / zooms
    qfac = 1.0 if np.linalg.det(rotation) > 0 else -1.0
    rotation[:, 2] *= qfac
    u, _, vt = np.linalg.svd(rotation)
    r = u @ vt
    # The eigenvector of the largest eigenvalue is the unit quaternion, stable for every rotation.
    k = np.array(
        [
            [r[0, 0] + r[1, 1] + r[2, 2], r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]],
            [r[2, 1] - r[1, 2], r[0, 0] - r[1, 1] - r[2, 2], r[0, 1] + r[1, 0], r[0, 2] + r[2, 0]],
            [r[0, 2] - r[2, 0], r[0, 1] + r[1, 0], r[1, 1] - r[0, 0] - r[2, 2], r[1, 2] + r[2, 1]],
            [r[1, 0] - r[0, 1], r[0, 2] + r[2, 0], r[1, 2] + r[2, 1], r[2, 2] - r[0, 0] - r[1, 1]],
        ]
    )
    exact = np.linalg.eigh(k)[1][:, 3]
    exact = exact if exact[0] >= 0 else -exact
    near = exact[1:].astype(np.float32)
    floats = [[np.nextafter(x, np.float32(s)) if s else x for s in (-2, 0, 2)] for x in near]
    choices = np.array(np.meshgrid(*floats, indexing="ij"), np.float64).reshape(3, -1).T
    choices = np.concatenate([near[None].astype(np.float64), choices])
    zooms = zooms.astype(np.float32).astype(np.float64)
    errors = [corner_distance(sform, qform(qfac, q, zooms, sform[:3, 3]), shape) for q in choices]
    return qfac, choices[int(np.argmin(errors))], zooms


def qform(qfac: float, turn: Matrix, zooms: Matrix, offset: Matrix) -> Matrix:
    """The 4 x 4 affine of a quaternion (b, c, d), zooms, offset and handedness (qfac)."""
    b, c, d = (float(x) for x in turn)
    squared = b * b + c * c + d * d
    a = max(1.0 - squared, 0.0) ** 0.5
    if squared > 1.0:
        b, c, d = b / squared**0.5, c / squared**0.5, d / squared**0.5
    rotation = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = rotation * np.asarray(zooms) * (1.0, 1.0, -1.0 if qfac < 0 else 1.0)
    affine[:3, 3] = offset
    return affine


def corner_distance(one: Matrix, other: Matrix, shape: tuple[int, ...]) -> float:
    """How far two affines put the corners of a block apart, at the worst, in mm."""
    difference = one - other
    return float(np.linalg.norm(corner_indices(shape[:3]) @ difference[:3, :3].T + difference[:3, 3], axis=1).max())
