"""Optimizers for large batches, one a file, each as its paper says."""

from critbatch.optimizers.lamb import LAMB
from critbatch.optimizers.lars import LARS
from critbatch.optimizers.rmsprop_warm_up import RMSpropWarmUp, sgd_share

__all__ = ["LAMB", "LARS", "RMSpropWarmUp", "sgd_share"]
