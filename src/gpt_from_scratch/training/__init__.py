"""One training loop for pretraining, classification and instruction tuning, and everything around it."""
