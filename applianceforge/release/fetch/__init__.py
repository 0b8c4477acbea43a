"""Sources of a repository's files, over HTTP or from a directory, with limits on all they send."""
