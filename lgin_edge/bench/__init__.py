"""``python -m lgin_edge.bench``: how fast every stage is on this machine, beside a yardstick that every machine can run."""
