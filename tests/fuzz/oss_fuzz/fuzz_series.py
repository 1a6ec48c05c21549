"""Atheris makes one plane of a mask series."""

from tests.fuzz.oss_fuzz.one_file import main

if __name__ == "__main__":
    main("fuzz_series")
