"""The paper's experiments on our portraits: ``python -m training.experiments runs/experiments`` -> ``docs/experiments.md``.

Trains LGIN and its variants alike (one seed, one C, one set of masks and prototypes, as many steps and faces), measures them
and some baselines with ``training.evaluate``, and writes tables and what they allow to say (``training.evaluation.comparison``,
``training.evaluation.experiments_report``). Whatever is finished in the folder is not done again.

Every method is an ``Ager`` and pastes its residual with the run time's kernels, so all act on the same square alike.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from rich.console import Console
from safetensors.torch import load_file

import lgin_edge
from lgin_edge import geometry
from lgin_edge.faces import Face, FaceBatch
from lgin_edge.frames import Frame
from lgin_edge.inference.loader import open_model
from lgin_edge.kernels import Edits, FacePlan, region_crop, region_paste, resample
from lgin_edge.transformer import WEIGHTS

from . import checkpoint, data, evaluate, export, fit, masks
from .config import PRESETS, PrototypeGains, TrainConfig, override
from .dataset import labels
from .dataset.labels import Photo
from .evaluate import Ager
from .evaluation.estimators import MissingJudge
from .evaluation.measures import Floats
from .networks import LGIN
from .prototypes import REFERENCE_AGE, Prototypes

Json = dict[str, Any]

PLAN, SHARED, CLASSIFIER, MEASURED = "plan.json", "shared", "classifier", "measured"
MASKS, PROTOTYPES = "masks.safetensors", "prototypes.safetensors"
REFERENCE = "full"


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        settings: of ``training.config``, where it differs from the full LGIN; None for what is not trained here.
        warm: whether its steps are split into warm-up and GAN; otherwise all of them are the GAN's.
    """

    name: str
    title: str
    about: str
    settings: tuple[str, ...] | None = None
    warm: bool = True


METHODS = (
    Method(REFERENCE, "full LGIN", "all parts, the defaults of `training.config`", ()),
    Method(
        "no-interaction",
        "without interaction",
        "`network.interaction=false`: local and global generators do not read each other's features",
        ("network.interaction=false",),
    ),
    Method(
        "no-local",
        "without local generators",
        "`network.local=false`: the global generator alone, prototypes and all else kept",
        ("network.local=false",),
    ),
    Method(
        "no-classifier",
        "without age classifier",
        "`weights.classification=0`: C judges no aged face",
        ("weights.classification=0",),
    ),
    Method(
        "global-gan",
        "global conditional GAN",
        "in the manner of IPCGAN (Wang et al. 2018): one generator, one conditional discriminator, identity loss and age "
        "classifier, no prototypes and so no warm-up; its adversarial and classification losses in IPCGAN's ratio of 75 to "
        "30, its identity loss ours, on pixels, where IPCGAN's is on a network's features",
        (
            "network.local=false",
            "weights.prototype=0",
            "weights.local=0",
            "weights.variation=0",
            "weights.adversarial=1",
            "weights.classification=0.4",
            "weights.identity=1",
            "d_detail=false",
        ),
        warm=False,
    ),
    Method(
        "prototypes",
        "prototypes alone",
        "no network: the prototype residual that the others warm up on (`training.prototypes`), told the labelled present "
        "age, which no other method knows, and masking skin and hair by GrabCut",
    ),
    Method("nothing", "doing nothing", "every age is the input"),
    Method(
        "bundled",
        "bundled model, trained longer",
        "`lgin_edge/weights/lgin.onnx`: a longer training of the full LGIN, measured only; compare it with no other row",
    ),
    Method(
        "bundled-global",
        "bundled, global residual alone",
        "the bundled model, its local generators' residuals left out",
    ),
    Method(
        "bundled-local", "bundled, local residuals alone", "the bundled model, its global generator's residual left out"
    ),
)
#: What is pasted of the bundled model's residuals: (global, local).
PARTS = {"bundled-global": (1.0, 0.0), "bundled-local": (0.0, 1.0)}


@dataclass(frozen=True)
class Plan:
    """What all methods of a folder share. ``labels`` is the digest of the portraits' ``labels.csv``."""

    smoke: bool
    warm_steps: int
    gan_steps: int
    classifier_steps: int
    classifier: str
    seed: int
    labels: str

    @property
    def faces(self) -> int | None:
        """Most faces of each split that train."""
        return 16 if self.smoke else None

    def base(self) -> TrainConfig:
        """The full LGIN's settings."""
        config = PRESETS["smoke" if self.smoke else "default"]()
        return replace(
            config, classifier_steps=0, warm_steps=self.warm_steps, adversarial_steps=self.gan_steps, seed=self.seed
        )

    def config(self, method: Method) -> TrainConfig:
        """A method's settings. Every method takes as many steps, and so sees as many faces."""
        config: TrainConfig = override(self.base(), list(method.settings or ()))
        if not method.warm:
            config = replace(config, warm_steps=0, adversarial_steps=self.warm_steps + self.gan_steps)
        return config


class Experiments:
    """A folder of experiments, begun or gone on with.

    Args:
        folder: where runs, measurements and figures of the test people are kept; git is told to ignore it.
        portraits: folder with ``labels.csv``.

    Raises:
        ValueError: the folder was begun with another plan.
        FileNotFoundError: no ``labels.csv``.
    """

    def __init__(self, folder: Path, plan: Plan, portraits: Path, people: int | None = None) -> None:
        self.folder, self.plan, self.portraits = folder, plan, portraits
        self.all_rows = labels.read(portraits)
        self.rows = labels.of_split(self.all_rows, "test", people)
        self.fabric = fit.make_fabric("cpu" if plan.smoke else "auto", 1, 1)
        self._judges: evaluate.Judges | None = None
        path = folder / PLAN
        # With the defaults of training.config, so that a later version of them cannot slip into half of a comparison.
        now = json.loads(json.dumps(asdict(plan) | {"config": asdict(plan.base())}))
        if path.is_file():
            begun = json.loads(path.read_text())
            changed = [f"{k}: {begun.get(k)!r} then, {now[k]!r} now" for k in now if begun.get(k) != now[k]]
            if changed:
                raise ValueError(
                    f"{folder} was begun with another plan ({'; '.join(changed)}), and one comparison must not mix two. Give "
                    "the same options to go on, or another folder"
                )
        else:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / ".gitignore").write_text("*\n")  # figures of real people lie here
            path.write_text(json.dumps(now, indent=2) + "\n")

    @property
    def classifier(self) -> Path:
        """The run whose C every method uses."""
        return Path(self.plan.classifier) if self.plan.classifier else self.folder / CLASSIFIER

    def train(self, method: Method) -> None:
        """Train a method to its end, or go on; nothing is done for what is finished or not trained here."""
        if method.settings is None:
            return
        config, run = self.plan.config(method), self.folder / method.name
        if _finished(run, config):
            return
        if not self.plan.classifier:
            self._train_classifier()
        run.mkdir(exist_ok=True)
        if config.weights.prototype:
            self.share()
            for name in (MASKS, PROTOTYPES):
                if not (run / name).is_file():
                    shutil.copy(self.folder / SHARED / name, run / name)
        self._fit(run, config, self.classifier)

    def _train_classifier(self) -> None:
        weights = replace(self.plan.base().weights, prototype=0.0)  # C needs neither masks nor prototypes
        config = replace(self.plan.base(), warm_steps=0, adversarial_steps=0, weights=weights)
        config = replace(config, classifier_steps=self.plan.classifier_steps)
        if not _finished(self.folder / CLASSIFIER, config):
            self._fit(self.folder / CLASSIFIER, config, None)

    def _fit(self, run: Path, config: TrainConfig, classifier: Path | None) -> None:
        fit.run(run, config, self.portraits, self.fabric, limit=self.plan.faces, classifier=classifier)

    def share(self) -> Prototypes:
        """The masks and prototypes of all methods, made once."""
        shared = self.folder / SHARED
        shared.mkdir(exist_ok=True)
        if not (shared / PROTOTYPES).is_file():
            faces = fit.load_faces(shared, self.portraits, self.plan.faces, True, self.fabric)
            fit.load_prototypes(shared, faces, self.fabric)
        return Prototypes.from_state(load_file(shared / PROTOTYPES))

    def ager(self, method: Method, present: Callable[[Frame, Floats], float] | None = None) -> Ager:
        """A trained method, or a baseline.

        Args:
            present: how old a face is, for the prototypes; by default its label, and ``REFERENCE_AGE`` where it has none.
        """
        if method.name == "nothing":
            return evaluate.do_nothing
        if method.name == "bundled":
            return evaluate.ager_from_model(WEIGHTS)
        if method.name in PARTS:
            return ager_of_parts(WEIGHTS, *PARTS[method.name])
        if method.name == "prototypes":
            return ager_of_prototypes(self.share(), self.plan.base().prototype, present or labelled(self.rows))
        return ager_of_network(export.load(self.folder / method.name))

    def measure(self, method: Method) -> Json:
        """What ``evaluate.evaluate`` says of a method; kept in the folder until its model or the people change."""
        path = self.folder / MEASURED / f"{method.name}.json"
        of = {"model": self._digest(method), "people": [row.file for row in self.rows]}
        if path.is_file():
            kept: Json = json.loads(path.read_text())
            if kept["of"] == of:
                return kept
        if self._judges is None:
            self._judges = evaluate.prepare(self.all_rows, 24 if self.plan.smoke else None)
        start = time.perf_counter()
        # One moving person: the document does not compare temporal consistency, which takes a while to measure.
        result = evaluate.evaluate(self.ager(method), self.rows, self._judges, moved=1)
        result |= {"of": of, "seconds": round(time.perf_counter() - start, 1)}
        path.parent.mkdir(exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(result) + "\n")
        partial.replace(path)
        return result

    def _digest(self, method: Method) -> str:
        if method.name == "nothing":
            return "none"
        if method.name == "bundled" or method.name in PARTS:
            return digest(WEIGHTS)
        if method.name == "prototypes":
            self.share()
            gains = json.dumps(asdict(self.plan.base().prototype), sort_keys=True)
            return f"{digest(self.folder / SHARED / PROTOTYPES)} {gains}"
        return digest(self.folder / method.name / checkpoint.FILE)


def digest(path: Path) -> str:
    """SHA-256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _finished(run: Path, config: TrainConfig) -> bool:
    saved = run / checkpoint.FILE
    if not saved.is_file():
        return False
    steps = checkpoint.load(saved, "rng.")[1]["steps"]
    return all(steps[phase] >= getattr(config, f"{phase}_steps") for phase in fit.PHASES)


def ager_of_network(net: LGIN) -> Ager:
    """T as it runs in the product, in PyTorch: the kernels cut the views and paste the residuals."""

    @torch.no_grad()
    def residuals(face: Floats, patches: Floats, boxes: Floats, codes: Floats) -> Sequence[Floats]:
        views = (torch.from_numpy(np.asarray(one)).float() for one in (face, patches, boxes))
        return [delta.float().numpy() for delta in net(*views, torch.from_numpy(codes)[None])[:2]]

    return _ager_of(residuals, geometry.ViewSpec(net.config.face_size, net.config.patch_size))


def ager_of_parts(model: Path, whole: float, local: float) -> Ager:
    """The model of an ``.onnx`` file with its global and its local residuals weighed: what each of them carries."""
    backend = open_model(model, providers=("CPUExecutionProvider",), threads=1)

    def residuals(face: Floats, patches: Floats, boxes: Floats, codes: Floats) -> Sequence[Floats]:
        face_delta, patch_delta = backend.run(face, patches, boxes.astype(np.float32), codes)
        return [np.asarray(face_delta) * np.float32(whole), np.asarray(patch_delta) * np.float32(local)]

    return _ager_of(residuals, backend.description.views)


def _ager_of(residuals: Callable[..., Sequence[Floats]], spec: geometry.ViewSpec) -> Ager:
    """Kernels round ``residuals(face, patches, boxes, codes [G, K]) -> (face_delta [G, ...], patch_delta [G, ...])``."""

    def age(frame: Frame, landmarks: Floats, years: Sequence[float]) -> list[Frame]:
        plan = FacePlan.of(frame, FaceBatch.of([Face(landmarks)]), spec)
        views = region_crop(plan, frame)
        codes = data.age_codes(torch.tensor(years, dtype=torch.float64)).float().numpy()
        deltas = zip(*residuals(*views, plan.faces.boxes, codes), strict=True)
        return [region_paste(plan, frame, Edits(g[None], p[None])) for g, p in deltas]

    return age


def ager_of_prototypes(fitted: Prototypes, gains: PrototypeGains, present: Callable[[Frame, Floats], float]) -> Ager:
    """The prototype residual of the aligned face, pasted like a network's.

    Args:
        present: (frame, landmarks) -> the face's age now, years.
    """

    @torch.no_grad()
    def age(frame: Frame, landmarks: Floats, years: Sequence[float]) -> list[Frame]:
        face = Face(landmarks)
        affine, spec = face.affine, geometry.ViewSpec(face_size=data.CANVAS)
        plan = FacePlan.of(frame, FaceBatch.of([face]), spec)
        view = resample(frame, affine, data.CANVAS, data.CANVAS)
        aligned = np.rint((view.transpose(1, 2, 0) + 1) * 127.5).clip(0, 255).astype(np.uint8)
        soft = masks.to_float(torch.from_numpy(masks.skin_and_hair(aligned))[None], data.CANVAS)
        x = torch.from_numpy(np.asarray(view, np.float32))[None]
        points = torch.from_numpy(geometry.apply(geometry.invert(affine), landmarks)).float()[None]
        now = torch.tensor([present(frame, landmarks)])
        none = np.zeros((1, 5, 3, spec.patch_size, spec.patch_size), np.float32)
        aged = []
        for wanted in years:
            residual = fitted.residual(x, soft, points, now, torch.tensor([float(wanted)]), gains)
            aged.append(region_paste(plan, frame, Edits(residual.numpy(), none)))
        return aged

    return age


def labelled(rows: Sequence[Photo]) -> Callable[[Frame, Floats], float]:
    """Ages of the portraits by their labels: a portrait is known by its landmarks; ``REFERENCE_AGE`` for any other face."""
    ages = {row.landmarks.tobytes(): row.age for row in rows}
    return lambda frame, landmarks: ages.get(landmarks.tobytes(), REFERENCE_AGE)


def find(name: str) -> Method:
    """A method by its name. Raises ValueError, naming those that there are."""
    for method in METHODS:
        if method.name == name:
            return method
    raise ValueError(f"no method {name!r}; there are {', '.join(method.name for method in METHODS)}")


def main(
    folder: Annotated[
        Path, typer.Argument(metavar="RUNS_FOLDER", help="Folder of the runs; git is told to ignore it.")
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The document; with --smoke it goes to RUNS_FOLDER instead.")
    ] = Path("docs/experiments.md"),
    portraits: Annotated[
        Path | None, typer.Option("--data", help="Folder with labels.csv (default: ../shared/portraits)")
    ] = None,
    steps: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="WARM GAN", help="Steps of warm-up and GAN of each method.", show_default="800 150"),
    ] = None,
    classifier: Annotated[
        Path | None, typer.Option(help="Take C from this run's folder instead of training one.", show_default=False)
    ] = None,
    classifier_steps: Annotated[
        int | None, typer.Option(min=1, help="Steps of C where it is trained here.", show_default="800")
    ] = None,
    people: Annotated[
        int | None, typer.Option(min=1, help="At most so many test people, for a trial.", show_default="all")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of every training and every bootstrap.")] = TrainConfig.seed,
    only: Annotated[
        list[str] | None, typer.Option(help="Train and measure only this method; may be repeated.", show_default=False)
    ] = None,
    smoke: Annotated[bool, typer.Option("--smoke", help="Everything in a minute; of no use but to try it.")] = False,
) -> None:
    """Train LGIN and its variants alike, measure them with baselines on the test people, and write docs/experiments.md.

    The same command again goes on where it stopped: trainings from their checkpoints, measurements that are there are kept
    (remove RUNS_FOLDER/measured to measure again). Figures of the test people stay in RUNS_FOLDER; never commit them.

    Examples:

        python -m training.experiments runs/smoke --smoke

        python -m training.experiments runs/experiments --classifier runs/second

        python -m training.experiments runs/long --steps 3500 1600

        python -m training.experiments runs/experiments --classifier runs/second --only no-local --people 20
    """
    from .evaluation import experiments_report

    console = Console(stderr=True, highlight=False)
    try:
        chosen = [find(name) for name in only] if only else list(METHODS)
        where = portraits or data.default_portraits()
        if not (where / "labels.csv").is_file():
            raise FileNotFoundError(
                f"no labels.csv in {where}: give the portraits' folder with --data or $LGIN_PORTRAITS"
            )
        if classifier is not None:
            fit.classifier_weights(classifier)  # a wrong folder is named before anything is trained
        warm, gan = steps or ((2, 2) if smoke else (800, 150))
        own = 0 if classifier else classifier_steps or (2 if smoke else 800)
        plan = Plan(smoke, warm, gan, own, str(classifier or ""), seed, digest(where / "labels.csv"))
        work = Experiments(folder, plan, where, people or (3 if smoke else None))
        for i, method in enumerate(chosen):
            console.rule(f"{i + 1} of {len(chosen)}: {method.title}")
            work.train(method)
            work.measure(method)
        if only:
            console.print("measured; without --only the same command writes the document")
            return
        target = folder / "experiments.md" if smoke else output
        experiments_report.write(work, target)
    except (ValueError, FileNotFoundError, FloatingPointError, MissingJudge, lgin_edge.LginError) as error:
        typer.echo(f"training.experiments: {error}", err=True)
        raise typer.Exit(2) from None
    typer.echo(f"{target}; figures of the test people, never to be committed: {folder / 'figures'}")


if __name__ == "__main__":
    app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
    app.command()(main)
    app()
