"""The report: messages, views, charts and what writes them. No torch."""
