"""Targets from examples: what a face should look like older and younger, as edits, made from real pictures and not drawn.

mesh.py      face meshes and person masks, by MediaPipe in an environment of its own
subject.py   one picture with its mesh: what the other modules take
ageing.py    how shape and colours change on average, by a regression over the packs' people
mean_face.py the mean face ("mesh space"), and warps from and to it
masks.py     visible skin and features of a face
hair.py      hair mattes: a small network, taught by mattes that were looked at, and the picture's own edges
beard.py     where a beard is, on those who were seen to have one, and beards on others
grey.py      hair, brows and beards that turn grey, and grey hair that turns dark again
layers.py    age layers: the lines of old faces in mesh space
matching.py  which layers suit whom
dressed.py   a face once more, in other hair or another's beard and before another wall
edits.py     a subject's edits: older and younger
build.py     all of it, for both packs: python -m training.targets.build runs/targets
"""
