"""Models that other tools wrote."""
