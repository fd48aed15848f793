"""Displays: one figure each of what a fitted estimator has learnt."""
