"""Scores of a network, or of any tool's catalogs, against known truth; numbers for programs, a page for people."""
