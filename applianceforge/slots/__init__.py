"""Slots: the boot environment, what may boot, and how a slot is written."""
