"""Pages: one HTML file each, which opens offline, is light or dark as its reader's system is, and asks nobody."""
