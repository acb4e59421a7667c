"""Judging a model: features and what can be read from them."""
