"""Tests of the 32-bit appliance that other tests rely on."""
