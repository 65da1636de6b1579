"""Labelled messages (chapter 6): reading, splitting, token ids."""
