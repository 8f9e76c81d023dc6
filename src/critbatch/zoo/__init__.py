"""Data sets and small models to try things on, and the way to the user's own task."""
