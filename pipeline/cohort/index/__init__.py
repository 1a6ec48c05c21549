"""Keep what is known of the inputs of a cohort: every file in one row, every series with its facts."""
