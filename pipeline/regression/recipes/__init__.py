"""Write the inputs of a case from a recipe: a phantom by parameters.

Rules:
- A recipe uses no patient, no download, no clock and no random number: it gives the same bytes on every machine.
- Nothing of the rooms that convert is used, so that what they give can be held against it.
"""

from .recipes import RECIPES, make_inputs

__all__ = ["RECIPES", "make_inputs"]
