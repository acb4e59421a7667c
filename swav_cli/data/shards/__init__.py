"""Tar files of pictures: by an index from disks, one after another from streams."""
