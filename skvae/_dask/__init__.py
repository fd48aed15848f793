"""Fits on a Dask cluster: collections and their partitions, monitored tasks, ranks on workers."""
