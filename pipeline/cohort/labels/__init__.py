"""Give the masks of a whole cohort their labels, by a file that a person writes."""
