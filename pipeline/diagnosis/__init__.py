"""Compare, diagnose and explain files that already exist, and test that this installation converts correctly."""
