"""Face meshes and person masks of aligned pictures, by MediaPipe: a program of its own, in an environment of its own.

    python3 -m venv .venv-mesh && .venv-mesh/bin/pip install mediapipe==0.10.14
    .venv-mesh/bin/python training/targets/mesh.py ../shared/portraits ../shared/faces -o runs/targets/mesh.npz

MediaPipe 0.10.14 (Apache-2.0) is the last wheel that carries its face mesh and its selfie segmentation; it pins packages
that the rest of the project has outgrown, so this file imports nothing of the project. For training only: neither the
models nor their outputs travel with lgin-edge.

The result, read by ``training.targets.subject``:

    name       [N]                 "portraits/images/....jpg": folder of the pack, and the file as its table names it
    landmarks  [N, 478, 3] float32 canonical x and y, and depth z in the same unit (468 of the face, 10 of the irises)
    person     [N, 256, 256] uint8 255 where the person is, over the canonical square
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import mediapipe as mp
import numpy as np
from PIL import Image

#: Side of the kept person mask; the segmentation network's own.
MASK_SIDE = 256
#: The mesh is found on the picture with its edge repeated by this fraction of its side: a chin at the border is still found.
MARGIN = 1 / 6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("packs", nargs="+", type=Path, help="folders with a labels.csv of aligned pictures")
    parser.add_argument("-o", "--output", type=Path, required=True, help="the .npz file to write")
    options = parser.parse_args()
    mesh = mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, refine_landmarks=True, max_num_faces=1, min_detection_confidence=0.3
    )
    segmentation = mp.solutions.selfie_segmentation.SelfieSegmentation(model_selection=0)
    files, landmarks, people, missed = [], [], [], []
    for pack in options.packs:
        with (pack / "labels.csv").open(newline="", encoding="utf-8") as table:
            rows = list(csv.DictReader(table))  # not by training.dataset.labels, which this environment has not got
        for number, row in enumerate(rows):
            name = f"{pack.name}/{row['file']}"
            picture = np.asarray(Image.open(pack / row["file"]).convert("RGB"))
            points = find(mesh, picture)
            if points is None:
                missed.append(name)
                continue
            mask = segmentation.process(picture).segmentation_mask
            files.append(name)
            landmarks.append(points)
            people.append(np.asarray(Image.fromarray((mask * 255).astype(np.uint8)).resize((MASK_SIDE, MASK_SIDE))))
            if number % 50 == 0:
                print(f"\r{pack.name}: {number} of {len(rows)}", end="", file=sys.stderr, flush=True)
        print(f"\r{pack.name}: {len(rows)} pictures   ", file=sys.stderr)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    partial = options.output.with_suffix(".partial.npz")
    np.savez_compressed(partial, name=np.array(files), landmarks=np.stack(landmarks), person=np.stack(people))
    partial.replace(options.output)
    print(f"{len(files)} meshes; no face found in {len(missed)}: {', '.join(missed) or '-'}", file=sys.stderr)


def find(mesh: mp.solutions.face_mesh.FaceMesh, picture: np.ndarray) -> np.ndarray | None:
    """Canonical landmarks [478, 3] of an aligned picture [H, H, 3], or None where no face is found."""
    side = picture.shape[0]
    pad = round(MARGIN * side)
    found = mesh.process(np.pad(picture, ((pad, pad), (pad, pad), (0, 0)), mode="edge")).multi_face_landmarks
    if not found:
        return None
    points = np.array([(p.x, p.y, p.z) for p in found[0].landmark], np.float32)
    points *= (side + 2 * pad) / side
    points[:, :2] -= pad / side
    return points


if __name__ == "__main__":
    main()
