"""The local page that `gpt app` opens: a file for each tab, `page.py` puts them together."""
