"""Fetching, reading, splitting and batching the data."""
