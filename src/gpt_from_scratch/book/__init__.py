"""The names and signatures of the book, one module a chapter: thin covers of the parts of this project."""
