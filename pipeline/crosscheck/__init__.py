"""Ask other readers about the same frames: `panel` asks, `agreement` judges; each witness is a module of its own."""
