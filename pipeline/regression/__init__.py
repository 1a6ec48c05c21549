"""Hold what cases give today against what they gave when their golden records were written."""
