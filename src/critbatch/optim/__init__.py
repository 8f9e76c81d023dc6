"""Optimizers of the papers, learning rates as functions of the epoch, rules that scale them."""
