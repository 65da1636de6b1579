"""Model folders: reading and writing weights."""
