"""Scores of catalogs and networks against truth."""
