"""The vendor's repository: keys, releases, signatures, and what is led where."""
