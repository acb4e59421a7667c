"""Folders of pictures, however large."""
