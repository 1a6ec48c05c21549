"""Atheris makes a NIfTI file."""

from tests.fuzz.oss_fuzz.one_file import main

if __name__ == "__main__":
    main("fuzz_nifti")
