"""Proof 1: frames laid on one grid, and every way in which they may fail to lie on one."""
