"""Arithmetic on records: the law of steps, its posterior, the critical batch size, the cluster model. No torch."""
