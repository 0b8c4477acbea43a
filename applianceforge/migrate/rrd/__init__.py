"""Round-robin databases: finding, converting, proving."""
