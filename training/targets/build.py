"""Make the targets of whole packs: python -m training.targets.build runs/targets

Needs the meshes of ``training/targets/mesh.py``. Four stages, each kept and not repeated by the next run: hair mattes, age
layers of the donors, the choice of layers for each face, and each face's edits (half a second a face and core); faces for
training are made ``DRESSED`` times more, in other hair and beards and before other walls.
Contact sheets of 24 faces are written at the end: look at them.

    hair.npz      probability of hair for each face
    layers.npz    layers [K, A, A], the mean of young skin, windows [5, A, A]
    choice.npz    fractions of each layer for each face
    edits/*.npz   one file a face, and NAME.dressed0.npz and on with the pictures of a face that is dressed
    sheets/*.jpg  input | 50 | 70 | 80 | 22 years
    report.json   what was left out, and why
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
import typer
from PIL import Image
from rich.progress import track
from safetensors.torch import save_file

from training.command import PacksOption, run_command
from training.dataset.labels import default_packs, read_packs

from . import beard, dressed, edits, hair, layers, masks, matching, mean_face
from .subject import SIDE, Floats, Subject, subjects

#: Side at which maps are kept: theirs is the network's resolution, not the picture's.
MAP_SIDE = 288
#: Above this the network only guesses at hair (bald heads, hats): the hair is left as it is and does not count in training.
MOST_UNCERTAIN = 0.58
YOUNG_YEARS = 35.0
#: How often each face whose hair is known is dressed; 2.5 MB of memory each.
DRESSED = 3
#: Heads whose ``turn`` differs by less may wear each other's beards.
_TURNED_ALIKE = 0.1
SHEET_AGES = (50, 70, 80, 22)
_SHEET_ROWS = 4


def main(
    folder: Annotated[
        Path, typer.Argument(metavar="TARGETS", help="Where the targets go; made if missing, resumed if not whole.")
    ],
    meshes: Annotated[
        Path | None, typer.Option(help="What training/targets/mesh.py wrote (default: TARGETS/mesh.npz).")
    ] = None,
    data: PacksOption = None,
    fit_hair: Annotated[
        bool,
        typer.Option(
            "--fit-hair", help="Train the hair network on, from the one kept here (ten minutes), before it is taken."
        ),
    ] = False,
    processes: Annotated[int, typer.Option(help="Processes that make edits.")] = os.cpu_count() or 1,
) -> None:
    """Make hair mattes, age layers and edits for every face of the packs. Ctrl-C loses one face; the same command goes on."""
    where = meshes or folder / "mesh.npz"
    if not where.is_file():
        print(f"targets.build: no meshes at {where}; make them first: see training/targets/mesh.py", file=sys.stderr)
        raise typer.Exit(2)
    cv2.setNumThreads(1)
    people = list(subjects(read_packs(data or default_packs()), where))
    if not (folder / "layers.npz").is_file():
        donors(people), forehead_donors(people)  # who lacks some hears it at once
    (folder / "edits").mkdir(parents=True, exist_ok=True)
    (folder / "sheets").mkdir(exist_ok=True)
    probability = _hair(people, folder, fit_hair)
    bank = _layers(people, probability, folder)
    choice = _choice(people, folder)
    todo = [i for i, s in enumerate(people) if s.photo.split != "donor" and not edits_file(folder, s).is_file()]
    jobs = [(people[i], probability[i], bank["young"], folder) for i in todo]
    with multiprocessing.get_context("spawn").Pool(processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for _ in track(pool.imap_unordered(_make, jobs, chunksize=4), "edits", total=len(jobs), disable=not jobs):
            pass
        seen = list(pool.imap(_skin_seen, people, chunksize=32))
    _dress(people, probability, bank["young"], folder, processes)
    report = _report(people, probability, seen)
    (folder / "report.json").write_text(json.dumps(report, indent=2))
    _sheets(people, folder, bank, choice)
    print(json.dumps({key: value if isinstance(value, int) else len(value) for key, value in report.items()}))


def edits_file(folder: Path, subject: Subject) -> Path:
    return folder / "edits" / f"{subject.photo.name}.npz"


def dressed_files(folder: Path, subject: Subject) -> list[Path]:
    """Where a face's edits and pictures are once it is dressed; not all of them need be there."""
    return [folder / "edits" / f"{subject.photo.name}.dressed{k}.npz" for k in range(DRESSED)]


def _hair(people: list[Subject], folder: Path, fit: bool) -> Floats:
    path = folder / "hair.npz"
    if path.is_file() and not fit:
        with np.load(path) as file:
            if list(file["name"]) == [s.photo.key for s in people]:
                return file["probability"].astype(np.float32)
    inputs = np.stack([hair.net_input(s) for s in track(people, "hair")])
    net = hair.load()
    probability = hair.predict(net, inputs)
    if fit:
        net = hair.train(people, dict(zip((s.photo.key for s in people), probability, strict=True)), net)
        save_file({k: v.half().contiguous() for k, v in net.state_dict().items()}, folder / hair.NET.name)
        probability = hair.predict(net, inputs)
    np.savez_compressed(path, name=[s.photo.key for s in people], probability=probability.astype(np.float16))
    return probability


def _layers(people: list[Subject], probability: Floats, folder: Path) -> dict[str, Floats]:
    path = folder / "layers.npz"
    if not path.is_file():
        mean = mean_face.load()
        said = dict(zip(people, probability, strict=True))
        youth = [s for s in people if s.photo.split == "train" and s.photo.age < YOUNG_YEARS and s.photo.sharp]
        youth = [s for s in youth if not {"glasses", "beard"} & s.photo.tags][:120]
        young = layers.mean_of([layers.detail(s, mean, hair.matte(s, said[s])) for s in track(youth, "young skin")])
        old = [layers.detail(d, mean, hair.matte(d, said[d]), layers.beard(d)) for d in donors(people)]
        whole = np.stack([layers.layer(one, young) for one in old])
        foreheads = np.stack([layers.forehead(d, mean) for d in forehead_donors(people)])
        windows = matching.region_windows(layers.TEXTURE_SIDE, mean, mean_face.TEXTURE_BOX)
        bank = layers.bank_of(whole, foreheads, windows, mean)
        np.savez_compressed(path, layers=bank, young=young, windows=windows)
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def donors(people: list[Subject]) -> list[Subject]:
    """The donors of ``layers.DONORS``, in its order. Raises ValueError if one is not among the people."""
    return _named(people, layers.DONORS)


def forehead_donors(people: list[Subject]) -> list[Subject]:
    """Whose foreheads are drawn with the layers of ``layers.DONORS``, in its order. Raises ValueError as ``donors``."""
    return _named(people, [layers.FOREHEAD_OF.get(k, name) for k, name in enumerate(layers.DONORS)])


def _named(people: list[Subject], names: Sequence[str]) -> list[Subject]:
    named = {s.photo.name: s for s in people}
    if missing := [name for name in names if name not in named]:
        raise ValueError(f"the packs lack these donors of age layers: {', '.join(missing)}")
    return [named[name] for name in names]


def _choice(people: list[Subject], folder: Path) -> matching.Choice:
    path = folder / "choice.npz"
    if not path.is_file():
        made = matching.choose(people, donors(people))
        np.savez_compressed(path, name=[s.photo.key for s in people], shares=made.shares, depth=made.depth)
    with np.load(path) as file:
        return matching.Choice(file["shares"], file["depth"])


def _make(job: tuple[Subject, Floats, Floats, Path]) -> None:
    subject, probability, young, folder = job
    sure = _is_known(subject, probability)
    matte = hair.matte(subject, probability) if sure else np.zeros((SIDE, SIDE), np.float32)
    _keep(edits_file(folder, subject), edits.make(subject, matte, mean_face.load(), young), hair_is_known=sure)


def _dress(people: list[Subject], probability: Floats, young: Floats, folder: Path, processes: int) -> None:
    """Edits and pictures of the faces for training in other hair and beards; whose hair is not known stays as it is."""
    known = [i for i, s in enumerate(people) if s.photo.split == "train" and _is_known(s, probability[i])]
    files = [(i, k, path) for i in known for k, path in enumerate(dressed_files(folder, people[i]))]
    if not (todo := [one for one in files if not one[2].is_file()]):
        return
    wearable = [i for i in known if people[i].photo.key in hair.checked()["right"]]
    right = frozenset(json.loads(beard.CHECKED.read_text()))
    bearded = [i for i, s in enumerate(people) if s.photo.split == "train" and s.photo.key in right]
    jobs = []
    for i, k, path in todo:
        random = np.random.default_rng((zlib.crc32(people[i].photo.key.encode()), k))
        # Hair of several, as not all hair serves; mostly of the own sex, whose cuts are worn.
        own = [j for j in wearable if people[j].photo.gender == people[i].photo.gender]
        chosen = random.permutation(own if own and random.random() < 0.85 else wearable)[:8]
        walls = random.choice(known, 2)
        beards = [j for j in bearded if _may_wear_beard(people[i], people[j])]
        of = random.choice(beards) if beards and random.random() < dressed.BEARD else None
        jobs.append(
            (people[i], probability[i], [(people[j], probability[j]) for j in chosen], [people[j] for j in walls],
             None if of is None else (people[of], probability[of]), young, path, random)
        )  # fmt: skip
    with multiprocessing.get_context("spawn").Pool(processes, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        for _ in track(pool.imap_unordered(_make_dressed, jobs, chunksize=4), "dressed", total=len(jobs)):
            pass


def _may_wear_beard(subject: Subject, of: Subject) -> bool:
    """Whether a man may wear another's beard: he has none, and both heads are turned alike."""
    bare = subject.photo.gender == "M" and not {"beard", "moustache"} & subject.photo.tags
    return bare and abs(subject.turn - of.turn) < _TURNED_ALIKE


def _make_dressed(
    job: tuple[
        Subject, Floats, list[tuple[Subject, Floats]], list[Subject], tuple[Subject, Floats] | None, Floats, Path,
        np.random.Generator,
    ],
) -> None:  # fmt: skip
    subject, probability, wearable, walls, bearded, young, path, random = job
    tried = (dressed.wig_of(other, hair.matte(other, said)) for other, said in wearable)
    wig = next((wig for wig in tried if wig is not None), None)
    beard_of = None if bearded is None else (bearded[0], hair.matte(*bearded))
    seen, matte = dressed.dressed(
        subject, hair.matte(subject, probability), wig, [wall.image for wall in walls], random, beard_of
    )
    pixels = (seen.image * 255).round().astype(np.uint8)
    _keep(path, edits.make(seen, matte, mean_face.load(), young), pixels=pixels)


def _keep(path: Path, made: edits.SubjectEdits, **others: Any) -> None:
    maps = np.stack([cv2.resize(m, (MAP_SIDE, MAP_SIDE), interpolation=cv2.INTER_AREA) for m in made.maps])
    partial = path.with_suffix(".partial.npz")
    arrays: dict[str, npt.NDArray[Any]] = {"maps": maps, "flow": made.flow, "place": made.place}
    np.savez(partial, **others, **{name: value.astype(np.float16) for name, value in arrays.items()})
    partial.replace(path)


def _is_known(subject: Subject, probability: Floats) -> bool:
    """Whether a face's hair may count in training: the network is sure of it, and nobody saw that it was wrong."""
    return hair.uncertainty(probability) <= MOST_UNCERTAIN and subject.photo.key not in hair.checked()["wrong"]


def _skin_seen(subject: Subject) -> float:
    return float(masks.skin(subject).mean())


def _report(people: list[Subject], probability: Floats, seen: list[float]) -> dict[str, Any]:
    kept = [one for one in zip(people, probability, seen, strict=True) if one[0].photo.split != "donor"]
    return {
        "faces": len(kept),
        "hair not known": [s.photo.key for s, p, _ in kept if not _is_known(s, p)],
        "skin hardly seen": [s.photo.key for s, _, share in kept if share < 0.06],
    }


def load(folder: Path, subject: Subject) -> edits.SubjectEdits:
    """A subject's edits at SIDE, as ``edits.apply`` takes them."""
    with np.load(edits_file(folder, subject)) as file:
        maps, flow, place = (file[name].astype(np.float32) for name in ("maps", "flow", "place"))
    large = [cv2.resize(m, (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) for m in maps]
    return edits.SubjectEdits(np.stack(large), flow, place)


def _sheets(people: list[Subject], folder: Path, bank: dict[str, Floats], choice: matching.Choice) -> None:
    shown = [i for i, s in enumerate(people) if s.photo.split in ("train", "val") and s.photo.sharp]
    shown = shown[:: max(1, len(shown) // 24)][:24]
    for start in range(0, len(shown), _SHEET_ROWS):
        rows = []
        for i in shown[start : start + _SHEET_ROWS]:
            s, own = people[i], load(folder, people[i])
            lines = layers.texture(bank["layers"], choice.shares[i] * choice.depth[i][:, None], bank["windows"])
            pictures = [
                edits.apply(s.image, edits.at_age(own, s.photo.age, age), lines, own.place) for age in SHEET_AGES
            ]
            rows.append(np.hstack([s.image, *pictures]))
        sheet = (np.vstack(rows) * 255).round().astype(np.uint8)
        Image.fromarray(sheet).save(folder / "sheets" / f"{start // _SHEET_ROWS}.jpg", quality=90)


if __name__ == "__main__":
    torch.set_num_threads(os.cpu_count() or 1)
    run_command(main)
