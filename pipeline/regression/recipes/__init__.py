"""Write the inputs of a case from a recipe: a phantom by parameters."""
