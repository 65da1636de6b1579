"""Texts for pretraining (chapter 2): files, corpora, token ids on disk."""
