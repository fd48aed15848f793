"""Fitted estimators as plain text and arrays, which skops, pickle and joblib write to files."""
