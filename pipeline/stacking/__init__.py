"""Lay the frames of one volume on one grid (Proof 1), or say which defect keeps them off it."""
