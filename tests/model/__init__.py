"""Tests of the words and values."""
