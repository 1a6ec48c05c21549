"""The public API as a type checker shows it to a user: `use_of_the_api.py` is checked, not run."""
