"""A sweep: its specification, its search, its store of runs, its workers, and what watches it."""
