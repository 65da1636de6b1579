"""Text to token ids and back (chapter 2)."""
