"""Values that are computed from records for views and charts."""
