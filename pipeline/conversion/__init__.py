"""From inputs to files: what is asked for, which products there are, and how each is written and proven."""
