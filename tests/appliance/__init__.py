"""The 32-bit appliance that tests, the demonstration and benchmarks work on."""
