"""PostgreSQL clusters: servers, inventories, dumping, loading, comparing."""
