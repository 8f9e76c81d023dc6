"""From records to records: fits, interpolation and the choice of a batch size. Plain arithmetic, no torch."""
