"""Many runs: kept for good, gone on with after any end, and made only once."""
