"""One module a command, each with `add` (its options) and a function that runs it and returns the exit code.

Nothing heavy is imported before a command runs. What a command prints goes through `pipeline.commands.say`.
"""
