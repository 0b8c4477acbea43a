"""Take 32-bit appliances to 64-bit, in place, unattended and proved."""
