"""Optimizers for large batches, one a file, each as its paper says."""

from critbatch.optim.lamb import LAMB
from critbatch.optim.lars import LARS
from critbatch.optim.rmsprop_warmup import RMSpropWarmUp, sgd_share

__all__ = ["LAMB", "LARS", "RMSpropWarmUp", "sgd_share"]
