"""Which pictures belong together, which are copies, which are odd: what `swav clusters` finds."""
