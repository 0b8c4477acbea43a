"""Releases: which there are, who may take them, how they are trusted, fetched and installed."""
