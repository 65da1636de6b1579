"""Instructions, prompts and preference pairs (chapter 7)."""
