"""The network, its losses and its weight files."""
