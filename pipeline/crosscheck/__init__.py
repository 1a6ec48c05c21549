"""What other readers say of the same frames. `agreement` judges, `panel` asks; each witness is a module of its own."""
