"""Callbacks for trainers of others. Each needs its package: ``critbatch[lightning]``, ``critbatch[transformers]``."""
