"""Properties of whole classes of inputs, tried on generated examples."""
