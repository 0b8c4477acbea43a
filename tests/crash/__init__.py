"""Cut a migration after any of its effects, resume it, and find the same proved end."""
