"""Hold conversions against what they gave before: cases, their inputs, their golden records."""
