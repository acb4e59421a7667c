"""What `swav bench` measures, part by part."""
