"""Judge aged pictures, and look at them: ``python -m training.judge MODEL_OR_FOLDER --mesh mesh.npz``.

Measures pairs (input, output), whatever made the output: a model, a folder of pictures, the training's own targets, or ``input``,
the unaltered pictures. ``training.judging.measures`` says what each measure is, ``training.blind`` asks viewers, which is what
counts. ``report.html`` shows every person, worst first; it shows real people: never commit or publish it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from PIL import Image
from rich.progress import track

from .command import PacksOption, exit_on_error, run_command
from .dataset import labels
from .dataset.labels import Photo
from .evaluation.estimators import MissingJudge, age_estimators
from .evaluation.measures import tone, typology_angle
from .judging import measures, report, two_sample
from .judging.anatomy import Anatomy, Floats, Mask, Meshes, canonical_view
from .judging.sources import ModelSource, Source, open_source
from .sheets import grid
from .templating import Json

#: Ages of the real people whom old and young are compared with, years.
REAL_OLD, REAL_YOUNG = 58.0, 38.0
#: An age from which a person is asked to look old, years.
OLD = 60.0
#: Grey pictures that are tried.
GREY_PEOPLE = 12
#: Hair has greyed where at least this part of it is seen to change and its median is lighter by this much, L.
GREYED_PART, GREYED_LIGHTNESS = 0.5, 5.0
AGE_BANDS = (("under 35", 0, 35), ("35 to 49", 35, 50), ("50 to 64", 50, 65), ("65 and over", 65, 200))


class RealFaces:
    """What real faces look like in mesh space: old ones to compare with, and the mean of young ones.

    Args:
        photos: of all splits; sharp ones with a mesh are used.
    """

    def __init__(self, meshes: Meshes, photos: Sequence[Photo], quiet: bool = False) -> None:
        sharp = [photo for photo in photos if photo.sharp and photo in meshes]
        self.old = [photo for photo in sharp if photo.age >= REAL_OLD]
        young = [photo for photo in sharp if photo.age < REAL_YOUNG and photo.split == "train"]
        self.texture, layers, masks = {}, [], []
        young_sum, young_count = np.zeros(()), np.zeros(())
        for photo in track([*young, *self.old], "real faces", disable=quiet, transient=True):
            anatomy = meshes.of(photo)
            unfolded = measures.Unfolded(meshes, anatomy, anatomy.view)
            layer = measures.band(unfolded.values, unfolded.skin, measures.FOLDS)
            if photo.age >= REAL_OLD:
                layers.append(layer)
                masks.append(unfolded.skin)
                self.texture[photo] = measures.energies(meshes, unfolded)
            else:
                young_sum, young_count = young_sum + layer, young_count + unfolded.skin
            meshes.forget(photo)
        mean = young_sum / np.maximum(young_count, 1)
        self.stencil = measures.stencil(
            meshes, [layer - mean * mask for layer, mask in zip(layers, masks, strict=True)], masks
        )

    def energy(self, gender: str) -> dict[str, Floats]:
        """Mean texture of the real old people of a sex (of all, where the sex is not known), by region: [octaves]."""
        chosen = [one for photo, one in self.texture.items() if not gender or photo.gender == gender]
        return {
            region: np.mean([one[region] for one in chosen if one[region] is not None], axis=0)
            for region in (chosen[0] if chosen else {})
            if any(one[region] is not None for one in chosen)
        }


def judge(
    source: Source,
    photos: Sequence[Photo],
    ages: Sequence[float],
    meshes: Meshes,
    real: RealFaces,
    estimators: Sequence[Any] = (),
    *,
    two_samples: bool = True,
    images: Path | None = None,
    quiet: bool = False,
) -> Json:
    """Measure a source. The same arguments give the same result.

    Args:
        photos: inputs with a mesh. estimators: as ``training.evaluation.estimators`` has them; floors, never aims.
        images: where a strip of each person is written, ``NAME.jpg``.

    Returns: "people", "slices" (by source, sex, tone and age), "stencil", "two_sample", "grey": plain JSON.
    Raises ValueError: the source has no picture of anybody.
    """
    people: list[Json] = []
    layers: dict[float, list[tuple[Floats, Mask]]] = {age: [] for age in ages}
    cut: dict[float, list[Floats]] = {age: [] for age in ages}
    inputs = []
    for photo in track(photos, "aged faces", disable=quiet, transient=True):
        anatomy, frame = meshes.of(photo), photo.frame()
        shown = {age: picture for age in ages if (picture := source(photo, age)) is not None}
        if not shown:
            continue
        before = measures.Unfolded(meshes, anatomy, anatomy.view)
        person = _about(photo, anatomy) | {"read": _read(estimators, frame, [frame], photo)[0], "ages": {}}
        inputs.append(two_sample.patches(anatomy, anatomy.view))
        for age, picture in shown.items():
            after = canonical_view(picture)
            unfolded = measures.Unfolded(meshes, anatomy, after)
            layers[age].append((measures.change_layer(before, unfolded), unfolded.skin))
            cut[age].append(two_sample.patches(anatomy, after))
            stripped = _as_frame(measures.without_paint(anatomy.view, after), frame.shape[1])
            read, unpainted = _read(estimators, frame, [picture, stripped], photo)
            person["ages"][f"{age:g}"] = {
                "hair": measures.hair(anatomy, after),
                "rims": measures.rims(anatomy, after),
                "read": read,
                "read_without_paint": unpainted,
                "texture": _texture(measures.energies(meshes, unfolded), real.energy(photo.gender))
                if age >= OLD
                else None,
            }
        if images is not None:
            images.mkdir(parents=True, exist_ok=True)
            sheet = grid([[("", picture) for picture in (frame, *shown.values())]], 256)
            sheet.save(images / f"{photo.name}.jpg", quality=92)
        people.append(person)
        meshes.forget(photo)
    if not people:
        raise ValueError("no input has an aged picture, or none has a mesh")
    for person in people:
        person["faults"] = faults(person)
    result: Json = {
        "ages": list(ages),
        "people": sorted(people, key=lambda person: -sum(fault["weight"] for fault in person["faults"])),
        "stencil": {"real": real.stencil, "real_people": len(real.old)},
        "slices": {name: summarise(chosen, ages) for name, chosen in slices(people).items()},
    }
    for age in ages:
        changes, masks = ([one[i] for one in layers[age]] for i in (0, 1))
        result["stencil"][f"{age:g}"] = measures.stencil(meshes, changes, masks)
    if two_samples:
        result["two_sample"] = _two_samples(cut, inputs, meshes, real)
    if isinstance(source, ModelSource):
        result["grey"] = greys(source, labels.spread(photos, GREY_PEOPLE), ages)
    return result


def _about(photo: Photo, anatomy: Anatomy) -> Json:
    """Who it is; the tone is measured from the picture's skin, light and camera included."""
    angle = typology_angle(np.median(anatomy.lab[anatomy.skin], axis=0))
    about = {"name": photo.name, "source": photo.source, "gender": photo.gender, "age": photo.age}
    return about | {"age_kind": photo.age_kind, "tone": tone(angle), "tags": sorted(photo.tags)}


def _read(estimators: Sequence[Any], frame: Any, pictures: Sequence[Any], photo: Photo) -> list[dict[str, float]]:
    """Ages that the estimators read of pictures that are aligned as the input is."""
    readings = {e.name: e([frame, *pictures], photo.landmarks)[1:] for e in estimators}
    return [{name: round(float(ages[i]), 1) for name, ages in readings.items()} for i in range(len(pictures))]


def _as_frame(picture: Floats, side: int) -> Any:
    small = Image.fromarray(np.rint(picture * 255).astype(np.uint8))
    return np.asarray(small.resize((side, side), Image.Resampling.LANCZOS))


def _texture(found: dict[str, list[float] | None], real: dict[str, Floats]) -> dict[str, list[float]]:
    """Octaves of a face less those of real old people, log2: 0 is as much texture, 1 twice as much, -1 half."""
    return {
        region: [round(float(v), 2) for v in np.array(octaves) - real[region]]
        for region, octaves in found.items()
        if octaves is not None and region in real
    }


def _two_samples(cut: dict[float, list[Floats]], inputs: list[Floats], meshes: Meshes, real: RealFaces) -> Json:
    """Separability from real old people: of the faces aged to ``OLD`` and more, of the inputs, and of real old people themselves."""
    old = []
    for photo in real.old:
        if photo.split != "donor":
            anatomy = meshes.of(photo)
            old.append(two_sample.patches(anatomy, anatomy.view))
            meshes.forget(photo)
    aged = {
        f"{age:g}": two_sample.separability(found, old) for age, found in cut.items() if age >= OLD and len(found) > 3
    }
    return aged | {"input": two_sample.separability(inputs, old), "real": two_sample.separability(old[::2], old[1::2])}


def greys(source: ModelSource, photos: Sequence[Photo], ages: Sequence[float]) -> Json:
    """Grey inputs: the largest difference of an output's channels, levels of a byte."""
    found = []
    for photo in photos:
        luma = np.rint(photo.frame() @ measures.LUMA).astype(np.uint8)
        grey = np.repeat(luma[..., None], 3, 2)
        found += [measures.greyness(source.age(grey, photo.landmarks, age) / 255) for age in ages]
    return {"pictures": len(found), "most": max(found), "mean": round(float(np.mean(found)), 2)}


def faults(person: Json) -> list[Json]:
    """What is wrong with a person's pictures, worst first; ``weight`` 1 is just past the aim."""
    found: list[tuple[float, str]] = []
    for age, one in person["ages"].items():
        years, hair, rims = float(age), one["hair"], one["rims"]
        new = [
            (rims[where] / limit, f"rim {where}, {rims[where]:g} levels")
            for where, limit in (("beside", 2.0), ("jaw", 14.0))
            if (rims[where] or 0) > limit
        ]
        if hair and not 0.9 <= (kept := hair["strands_kept"]) <= 1.25:
            new.append((1 + abs(np.log2(max(kept, 0.1))), f"strands' contrast times {kept:g}"))
        if hair and hair["dark"] and years >= OLD and not greyed(hair):
            new.append((1.5, f"dark hair did not grey ({100 * hair['changed']:.0f} % changed)"))
        way = np.sign(years - person["age"])
        for name, read in one["read"].items():
            if way and way * (read - person["read"][name]) <= 0:
                new.append((2.0, f"{name} reads {read:g}, and {person['read'][name]:g} before"))
        for region, (finest, *_) in (one["texture"] or {}).items():
            if abs(finest) > 1:
                new.append((abs(finest), f"finest texture of the {region} {finest:+.1f} octaves from real"))
        found += [(weight, f"at {age}: {text}") for weight, text in new]
    return [{"weight": round(float(weight), 2), "text": text} for weight, text in sorted(found, reverse=True)]


def greyed(hair: Json) -> bool:
    """Whether hair is seen to have greyed."""
    return bool(hair["changed"] >= GREYED_PART and hair["lightness"][1] >= GREYED_LIGHTNESS)


def slices(people: Sequence[Json]) -> dict[str, list[Json]]:
    """The people, all and by source, sex, tone and age of the input; empty ones left out."""
    result = {"all": list(people)}
    for field in ("source", "gender", "tone"):
        for value in sorted({person[field] for person in people}):
            result[f"{field} {value or 'unknown'}"] = [person for person in people if person[field] == value]
    for name, low, high in AGE_BANDS:
        result[f"age {name}"] = [person for person in people if low <= person["age"] < high]
    return {name: chosen for name, chosen in result.items() if chosen}


def summarise(people: Sequence[Json], ages: Sequence[float]) -> Json:
    """Figures of some people: by age asked for; medians where not said otherwise."""
    result: Json = {"n": len(people), "ages": {}}
    for age in ages:
        shown = [(person, person["ages"][f"{age:g}"]) for person in people if f"{age:g}" in person["ages"]]
        hairs = [one["hair"] for _, one in shown if one["hair"]]
        dark = [hair for hair in hairs if hair["dark"]]
        row: Json = {"n": len(shown), "hair": len(hairs), "dark_hair": len(dark)}
        row["greyed"] = _mean(map(greyed, dark)) if age >= OLD else None
        row |= {name: _median(hair[name] for hair in hairs) for name in ("changed", "strands_kept", "chroma_kept")}
        row |= {f"rim_{where}": _median(one["rims"][where] for _, one in shown) for where in ("beside", "jaw")}
        row["rim_beside_over_2"] = _mean((one["rims"]["beside"] or 0) > 2 for _, one in shown)
        row["read"] = {
            name: {
                "mean": _mean(one["read"][name] for _, one in shown),
                "mae": _mean(abs(one["read"][name] - age) for _, one in shown),
            }
            for name in (shown[0][1]["read"] if shown else ())
        }
        row["age_kept_without_paint"] = {name: _kept(shown, name) for name in row["read"]}
        texture = [one["texture"] for _, one in shown if one["texture"]]
        row["texture"] = {
            region: [_median(values) for values in zip(*(one[region] for one in texture if region in one), strict=True)]
            for region in (measures.REGIONS if texture else ())
        }
        result["ages"][f"{age:g}"] = row
    return result


def _kept(shown: Sequence[tuple[Json, Json]], name: str) -> float | None:
    """Part of the change of the age read that is left without paint; None where there is hardly any change."""
    moved = sum(one["read"][name] - person["read"][name] for person, one in shown)
    left = sum(one["read_without_paint"][name] - person["read"][name] for person, one in shown)
    return round(left / moved, 2) if abs(moved) >= len(shown) else None


def _mean(values: Iterable[float]) -> float | None:
    known = list(values)
    return round(float(np.mean(known)), 3) if known else None


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.median(known)), 3) if known else None


def main(
    source: Annotated[str, typer.Argument(help="Model file, folder of pictures named like the inputs, or 'input'.")],
    mesh: Annotated[Path, typer.Option(help="Mesh file: see training.judging.anatomy.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Folder of the report (default: runs/judge/SOURCE)")
    ] = None,
    age: Annotated[list[float], typer.Option(help="Age in years; may be repeated.")] = [30, 50, 70],  # noqa: B006
    data: PacksOption = None,
    split: Annotated[str, typer.Option(help="Whose faces are judged.")] = "test",
    people: Annotated[int | None, typer.Option(min=1, help="At most this many, for a trial.")] = None,
    two_samples: Annotated[
        bool, typer.Option("--two-sample/--no-two-sample", help="Train small networks to tell them from real.")
    ] = True,
    estimate: Annotated[
        bool, typer.Option("--estimate/--no-estimate", help="Read ages by the estimators, as floors.")
    ] = True,
) -> None:
    """Judge aged pictures and write report.html, report.json."""
    torch.set_num_threads(1)  # the networks of the two-sample test are too small to share
    output = output or Path("runs/judge") / Path(source).stem
    with exit_on_error("judge", MissingJudge):
        meshes = Meshes(mesh)
        every = labels.read_packs(data or labels.default_packs())
        chosen = [photo for photo in labels.of_split(every, split) if photo.sharp and photo in meshes]
        chosen = labels.spread(chosen, people) if people else chosen
        estimators = age_estimators() if estimate else []
        opened = open_source(source)
        real = RealFaces(meshes, every)
        result = judge(opened, chosen, age, meshes, real, estimators, two_samples=two_samples, images=output / "strips")
    result["source"], result["split"] = Path(source).name, split
    report.write(result, output)
    typer.echo(f"{output}/report.html: {len(result['people'])} people; it shows real people, keep it to yourself")


if __name__ == "__main__":
    run_command(main)
