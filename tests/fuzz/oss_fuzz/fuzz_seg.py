"""Atheris makes a DICOM SEG, beside its images."""

from tests.fuzz.oss_fuzz.one_file import main

if __name__ == "__main__":
    main("fuzz_seg")
