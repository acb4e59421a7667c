"""The method and its training; knows nothing of commands or screens."""
