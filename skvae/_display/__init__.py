"""Displays: what a fitted estimator learnt, in one figure each."""
