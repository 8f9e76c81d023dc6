"""Measurements on the user's own model, data and machine. One quantity a file; each gives a record."""
