"""Statistics of data sets: lengths, duplicates, leaks; `gpt data check`."""
