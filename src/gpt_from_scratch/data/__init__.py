"""The data sets: fetched files, texts, messages, instructions, and their loaders."""
