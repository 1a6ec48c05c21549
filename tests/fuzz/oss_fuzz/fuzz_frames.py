"""Atheris makes one plane whose frame is compressed."""

from tests.fuzz.oss_fuzz.one_file import main

if __name__ == "__main__":
    main("fuzz_frames")
