"""Small virtual machines: a 32-bit kernel, a Python, and what is to be asked, in one archive."""
