"""Tests of applianceforge.imaging."""
