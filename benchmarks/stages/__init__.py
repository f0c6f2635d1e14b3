"""``python -m benchmarks.stages``: how fast every stage is on this machine, beside a yardstick that every machine can run."""
