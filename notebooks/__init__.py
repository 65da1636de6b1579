"""The learning path: four notebooks, kept as text; `python -m notebooks` runs them."""
