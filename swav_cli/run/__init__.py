"""A run's folder: its state, its results, and what it was trained on."""
