"""What releases are, and the ways from one to another: shared by the vendor and the boxes."""
