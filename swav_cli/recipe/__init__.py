"""What a run is: the values of a recipe, on disk and in words. Nothing here needs torch."""
