"""Anomaly scores of rows: against their neighbours, their columns, and the expectation of networks."""
