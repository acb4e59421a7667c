"""The method and its training, as the paper tells it."""
