"""What a run will be, before it begins: values that say auto, what fits into memory, how long it takes."""
