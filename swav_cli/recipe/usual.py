"""The recipes that are meant where a command names none. Help tells them, so nothing is imported here."""

from __future__ import annotations

FIRST = "quickstart"  # where neither a recipe nor pictures are named
FOLDER = "small-folder"  # of pictures, in place of a recipe
SMALL = 96  # pixels: up to here the recipes for small pictures are meant
LINEAR = ("linear-small", "linear-in1k")  # for small pictures, for larger ones
FINETUNE = ("finetune-small", "finetune-in1k-10pct")
