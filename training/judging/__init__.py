"""Is an aged picture believable? Measures of pairs (input, output), a blind choice by viewers, and a report to look at.

All of it judges pictures, so a model, a folder of pictures and the training's own targets are judged alike.
"""
