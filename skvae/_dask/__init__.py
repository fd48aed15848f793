"""How fits reach a Dask cluster: collections and their partitions, work that is watched, ranks on workers."""
