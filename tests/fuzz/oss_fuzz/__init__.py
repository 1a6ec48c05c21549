"""Entry points for Atheris, laid out as OSS-Fuzz takes them: each reads one file of the fuzzer's making.

Rules:
- A refusal is fine; any other exception reaches Atheris, which keeps the input.
- `python -m tests.fuzz.oss_fuzz.corpus FOLDER` writes the seeds that it starts from.
"""
