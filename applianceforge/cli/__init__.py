"""One command, applianceforge."""
