"""Run a plan: here, in processes, on a cluster or in parts; collect what is made, and take up what was left."""
