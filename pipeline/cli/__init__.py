"""The command line: one module a command, each with `add` (its options) and `run`, which returns the exit code.

Nothing heavy is imported before a command runs. What a command prints goes through `cli.output`.
"""
