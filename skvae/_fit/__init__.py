"""From settings and rows to a model."""
