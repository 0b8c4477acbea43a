"""The program's name and version; the packaging reads them here too."""

PROGRAM = "applianceforge"
VERSION = "0.2.0"
