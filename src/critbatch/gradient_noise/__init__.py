"""Signal and noise of the gradient: the estimator, the hooks, the monitor, the norms of examples."""
