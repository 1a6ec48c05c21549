"""Atheris makes the bundle.json of a Mimics bundle."""

from tests.fuzz.oss_fuzz.one_file import main

if __name__ == "__main__":
    main("fuzz_bundle")
