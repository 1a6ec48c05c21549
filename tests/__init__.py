"""The tests; what they build on lies in `helpers`."""

from pathlib import Path

__path__.append(str(Path(__file__).parent / "helpers"))  # scripts of others still import tests.phantom
