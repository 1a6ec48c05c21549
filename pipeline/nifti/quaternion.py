"""Convert an affine to the qform of a NIfTI header, and back: quaternion, zooms and handedness (NIfTI-1, method 2)."""

from __future__ import annotations

import numpy as np

from ..geometry.affine import Matrix, axis_lengths, corner_distance

# Readers take a rotation for a half turn where a² is below this: the standard's text, its C library, nibabel.
_HALF_TURNS = (0.0, 1e-7, 3.58e-7)
_GOOD_MM = 1e-4  # where every corner is this near, no better floats are looked for


def quaternion(sform: Matrix, shape: tuple[int, ...]) -> tuple[float, Matrix, Matrix, float]:
    """Find the qform nearest to an affine (NIfTI-1, method 2), in numbers that float32 can hold.

    sform: 4 x 4, index to RAS mm. shape: of the block whose corners count. Returns qfac, (b, c, d), the zooms in mm,
    and how far this puts the worst corner from where the affine puts it, in mm.

    Near half turns, where most axial images are, a small error of b, c, d is a large one of the angle, since
    a = sqrt(1 - b² - c² - d²). There the neighbouring floats are tried too, and the set is taken that the reader it
    suits least reads best.
    """
    zooms = axis_lengths(sform)
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
    near = exact[1:].astype(np.float32).astype(np.float64)
    zooms = zooms.astype(np.float32).astype(np.float64)

    def error(turn: Matrix) -> float:
        read = [qform(qfac, turn, zooms, sform[:3, 3], half_turn=below) for below in _HALF_TURNS]
        return max(corner_distance(sform, affine, shape) for affine in read)

    if (reached := error(near)) <= _GOOD_MM:
        return qfac, near, zooms, reached
    floats = [[np.nextafter(x, np.float32(s)) if s else x for s in (-2, 0, 2)] for x in near.astype(np.float32)]
    choices = np.array(np.meshgrid(*floats, indexing="ij"), np.float64).reshape(3, -1).T
    best = min(choices, key=error)
    return qfac, best, zooms, error(best)


def qform(qfac: float, turn: Matrix, zooms: Matrix, offset: Matrix, *, half_turn: float = 0.0) -> Matrix:
    """Compute the affine of a qform.

    Args:
        qfac: handedness; below 0 the third axis is reversed.
        turn: (b, c, d) of the unit quaternion.
        zooms: (3,) mm along i, j and k.
        offset: (3,) RAS mm of the first voxel.
        half_turn: a rotation with an a² below this is read as a half turn, as some readers do.

    Returns:
        4 x 4, index to RAS mm.
    """
    b, c, d = (float(x) for x in turn)
    squared = b * b + c * c + d * d
    is_half_turn = 1.0 - squared < half_turn or squared > 1.0
    a = 0.0 if is_half_turn else (1.0 - squared) ** 0.5
    if is_half_turn:
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
