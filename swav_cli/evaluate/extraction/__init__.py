"""Features in a file: computed in any number of goes and by any number of processes, and written in several formats."""
