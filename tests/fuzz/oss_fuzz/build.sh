#!/bin/bash -eu
# Run by OSS-Fuzz in the image that Dockerfile makes: every fuzz_*.py becomes a program in $OUT, with its seeds beside it.
cd "$SRC/verimask"
python3 -m pip install --require-hashes -r .ci/requirements.lock
python3 -m pip install --no-deps --no-build-isolation -e .
python3 -m tests.fuzz.oss_fuzz.corpus "$OUT"
for entry in tests/fuzz/oss_fuzz/fuzz_*.py; do
  compile_python_fuzzer "$entry" --collect-all pipeline --collect-all tests --collect-all pydicom
done
