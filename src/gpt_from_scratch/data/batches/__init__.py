"""Loaders for training and validation, and batches of similar lengths."""
