"""Pictures: found, decoded, listed and brought to the training loop."""
