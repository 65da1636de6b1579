"""The fetched data (`data/raw`): where each file comes from, and reading it verified."""
