"""Downloads: sources, transfer, verification, the folder of fetched data."""
