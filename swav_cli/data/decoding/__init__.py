"""Any file of a picture as numbers."""
