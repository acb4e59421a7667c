"""Models that exist: ours, others' and the published ones, read in."""
