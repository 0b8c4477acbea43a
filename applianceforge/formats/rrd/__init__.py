"""RRDtool's databases: native files of every architecture, and the XML of dump and restore."""
