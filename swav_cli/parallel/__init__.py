"""Many processes that work on one thing: their places, sums over all of them, how they end together."""
