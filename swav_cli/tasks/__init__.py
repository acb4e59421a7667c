"""One file a task, from what was asked to what came of it: what the commands call, and Python may."""
