"""Many pictures, in folders, Parquet files and WebDataset shards, on one process or on many workers: ``lgin-edge batch``.

``tasks`` finds what there is to do, ``worker`` does one task (``parquet`` and ``webdataset`` a shard), ``journal`` remembers what
is done, ``ray_executor`` spreads tasks over workers, and ``run`` is all of it. What travels between processes are names and
counts: a picture is read where it is changed, and its result written there.
"""
