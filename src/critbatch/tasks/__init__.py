"""Tasks: model, data and loss from the user, and the built-in tasks."""
