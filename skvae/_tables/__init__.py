"""Tables: columns, rows, and features for linear models."""
