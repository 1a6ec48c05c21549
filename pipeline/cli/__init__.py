"""The command line has one module per command, each with `add` (its options) and `run`, which returns the exit code.

Nothing heavy is imported before a command runs. What a command prints goes through `cli.output`.
"""
