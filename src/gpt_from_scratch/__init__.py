"""GPT-2 from scratch, after Sebastian Raschka's *Build a Large Language Model (From Scratch)*."""

__version__ = "0.1.0"
