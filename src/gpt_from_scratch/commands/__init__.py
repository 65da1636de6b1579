"""The subcommands of `gpt`, a module for each group; `cli.py` puts them together."""
