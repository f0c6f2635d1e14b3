"""The research bench: what ``python -m benchmarks.stages`` measures, beside other people's implementations and part by part.

Run from a checkout: ``python -m benchmarks.research``.
"""
