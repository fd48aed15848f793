"""Fitted estimators as plain things, which skops, pickle and joblib write to files."""
