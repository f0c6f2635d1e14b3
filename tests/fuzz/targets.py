def target(f): return f
