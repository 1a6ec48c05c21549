"""NIfTI files as this project writes and reads them, and the proof that they hold what was meant."""
