"""The paper's experiments on our portraits: ``python -m training.experiments runs/experiments`` -> ``docs/experiments.md``.

Trains LGIN and its variants alike (one seed, one C, the same targets, as many steps and faces), measures them
and some baselines with ``training.evaluate``, and writes tables and what they allow to say (``training.evaluation.comparison``,
``training.evaluation.experiments_report``). Whatever is finished in the folder is not done again.

Every method is an ``Ager`` (``training.evaluation.agers``).
"""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from lgin_edge.files import atomic_write
from lgin_edge.transformer import WEIGHTS

from . import checkpoint, evaluate, export, fit, trainer
from .command import PacksOption, exit_on_error, run_command
from .config import PRESETS, TrainConfig, override
from .dataset import labels
from .evaluate import Ager
from .evaluation import agers
from .evaluation.estimators import MissingJudge
from .networks import FACE_BOX

Json = dict[str, Any]

PLAN, CLASSIFIER, MEASURED = "plan.json", "classifier", "measured"
REFERENCE = "full"
#: The paper's age classifier judges in all methods that do not say otherwise; the default of ``training.config`` goes without.
FULL = ("weights.classification=0.01",)


@dataclass(frozen=True)
class Method:
    """One row of the tables.

    Attributes:
        settings: of ``training.config``, where it differs from the full LGIN; None for what is not trained here.
        supervised: whether its steps are split into those on the targets and the GAN's; otherwise all of them are the GAN's.
    """

    name: str
    title: str
    about: str
    settings: tuple[str, ...] | None = None
    supervised: bool = True


METHODS = (
    Method(REFERENCE, "full LGIN", "all parts: the defaults of `training.config`, and the age classifier", ()),
    Method(
        "no-interaction",
        "without interaction",
        "`network.interaction=false`: local and global generators do not read each other's features",
        ("network.interaction=false",),
    ),
    Method(
        "no-local",
        "without local generators",
        "`network.local=false`: the global generator alone, and so no lines; targets and all else kept",
        ("network.local=false",),
    ),
    Method(
        "no-classifier",
        "without age classifier",
        "`weights.classification=0`: C judges no aged face",
        ("weights.classification=0",),
    ),
    Method(
        "no-gan",
        "without discriminator and classifier",
        "no adversarial and classification loss: the generators learn from the targets alone",
        ("weights.adversarial=0", "weights.classification=0"),
    ),
    Method(
        "global-gan",
        "global conditional GAN",
        "in the manner of IPCGAN (Wang et al. 2018): one generator, one conditional discriminator, identity loss and age "
        "classifier, no targets and so no supervised phase; its adversarial and classification losses in IPCGAN's ratio of 75 "
        "to 30, its identity loss ours, on pixels, where IPCGAN's is on a network's features",
        (
            "network.local=false",
            *(f"weights.{name}=0" for name in ("picture", "flow", "grey", "skin", "place", "which", "depth")),
            "weights.local=0",
            "weights.variation=0",
            "weights.adversarial=1",
            "weights.classification=0.4",
            "weights.identity=1",
        ),
        supervised=False,
    ),
    Method(
        "targets",
        "targets alone",
        "no network: the edits that the others learn from (`training.targets`), told the labelled present age and made with "
        "a mesh of the face, which no other method has",
    ),
    Method("nothing", "doing nothing", "every age is the input"),
    Method(
        "bundled",
        "bundled model, trained longer",
        "`lgin_edge/weights/lgin.onnx`: a longer training of the full LGIN, measured only; compare it with no other row",
    ),
    Method(
        "bundled-global",
        "bundled, global edits alone",
        "the bundled model, its local generators' edits left out",
    ),
    Method("bundled-local", "bundled, local edits alone", "the bundled model, its global generator's edits left out"),
)
#: What is pasted of the bundled model's edits: (global, local).
PARTS = {"bundled-global": (1.0, 0.0), "bundled-local": (0.0, 1.0)}


@dataclass(frozen=True)
class Plan:
    """What all methods of a folder share. ``labels`` is the digest of the packs' ``labels.csv``, ``targets`` of what is learnt."""

    smoke: bool
    supervised_steps: int
    gan_steps: int
    classifier_steps: int
    classifier: str
    seed: int
    labels: str
    targets: str

    @property
    def faces(self) -> int | None:
        """Most faces of each split that train."""
        return 16 if self.smoke else None

    def base(self) -> TrainConfig:
        """The full LGIN's settings."""
        config = override(PRESETS["smoke" if self.smoke else "default"](), list(FULL))
        steps = {"supervised_steps": self.supervised_steps, "adversarial_steps": self.gan_steps}
        return replace(config, classifier_steps=0, seed=self.seed, **steps)

    def config(self, method: Method) -> TrainConfig:
        """A method's settings. Every method takes as many steps, and so sees as many faces."""
        config: TrainConfig = override(self.base(), list(method.settings or ()))
        if not method.supervised:
            config = replace(config, supervised_steps=0, adversarial_steps=self.supervised_steps + self.gan_steps)
        return config


class Experiments:
    """A folder of experiments, begun or gone on with.

    Args:
        folder: where runs, measurements and figures of the test people are kept; git is told to ignore it.
        packs: folders with a ``labels.csv``. targets: what ``training.targets.build`` made of them.

    Raises ValueError: the folder was begun with another plan; FileNotFoundError: no ``labels.csv``.
    """

    def __init__(self, folder: Path, plan: Plan, packs: list[Path], targets: Path, people: int | None = None) -> None:
        self.folder, self.plan, self.packs, self.targets = folder, plan, packs, targets
        self.all_rows = labels.read_packs(packs)
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
        self._fit(run, config, self.classifier)

    def _train_classifier(self) -> None:
        config = replace(self.plan.base(), supervised_steps=0, adversarial_steps=0)
        config = replace(config, classifier_steps=self.plan.classifier_steps)
        if not _finished(self.folder / CLASSIFIER, config):
            self._fit(self.folder / CLASSIFIER, config, None)

    def _fit(self, run: Path, config: TrainConfig, classifier: Path | None) -> None:
        limit = self.plan.faces
        fit.run(run, config, self.targets, self.packs, self.fabric, limit=limit, classifier=classifier)

    def ager(self, method: Method) -> Ager:
        """A trained method, or a baseline."""
        if method.name == "nothing":
            return evaluate.do_nothing
        if method.name == "bundled":
            return evaluate.ager_from_model(WEIGHTS)
        if method.name in PARTS:
            return agers.of_parts(WEIGHTS, *PARTS[method.name])
        if method.name == "targets":
            return agers.of_targets(self.targets, self.rows)
        return agers.of_network(export.load(self.folder / method.name))

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
        result = evaluate.evaluate(self.ager(method), self.rows, self._judges, moved=1, face_box=FACE_BOX)
        result |= {"of": of, "seconds": round(time.perf_counter() - start, 1)}
        path.parent.mkdir(exist_ok=True)
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(result) + "\n")
        return result

    def _digest(self, method: Method) -> str:
        if method.name == "nothing":
            return "none"
        if method.name == "bundled" or method.name in PARTS:
            return digest(WEIGHTS)
        if method.name == "targets":
            return self.plan.targets
        return digest(self.folder / method.name / checkpoint.FILE)


def digest(*paths: Path) -> str:
    """SHA-256 of files, one after the other."""
    total = hashlib.sha256()
    for path in paths:
        total.update(path.read_bytes())
    return total.hexdigest()


def digest_of_targets(folder: Path) -> str:
    """SHA-256 of the choice of layers and of all edits. Raises FileNotFoundError where there are none."""
    made = sorted((folder / "edits").glob("*.npz"))
    if not made or not (folder / "choice.npz").is_file():
        raise FileNotFoundError(f"no targets in {folder}; python -m training.targets.build {folder} makes them")
    return digest(folder / "choice.npz", *made)


def _finished(run: Path, config: TrainConfig) -> bool:
    saved = run / checkpoint.FILE
    if not saved.is_file():
        return False
    steps = checkpoint.load(saved, "rng.")[1]["steps"]
    return all(steps[phase] >= getattr(config, f"{phase}_steps") for phase in trainer.PHASES)


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
    packs: PacksOption = None,
    targets: Annotated[Path, typer.Option(help="What python -m training.targets.build made.")] = Path("runs/targets"),
    steps: Annotated[
        tuple[int, int] | None,
        typer.Option(metavar="SUPERVISED GAN", help="Steps on the targets and of the GAN.", show_default="800 150"),
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
    with exit_on_error("experiments", FloatingPointError, MissingJudge):
        chosen = [find(name) for name in only] if only else list(METHODS)
        where = packs or labels.default_packs()
        labels.read_packs(where)  # a wrong folder is named before anything is trained
        if classifier is not None:
            fit.classifier_weights(classifier)
        supervised, gan = steps or ((2, 2) if smoke else (800, 150))
        own = 0 if classifier else classifier_steps or (2 if smoke else 800)
        sources = digest(*(pack / "labels.csv" for pack in where)), digest_of_targets(targets)
        plan = Plan(smoke, supervised, gan, own, str(classifier or ""), seed, *sources)
        work = Experiments(folder, plan, where, targets, people or (3 if smoke else None))
        for i, method in enumerate(chosen):
            console.rule(f"{i + 1} of {len(chosen)}: {method.title}")
            work.train(method)
            work.measure(method)
        if only:
            console.print("measured; without --only the same command writes the document")
            return
        target = folder / "experiments.md" if smoke else output
        experiments_report.write(work, target)
    typer.echo(f"{target}; figures of the test people, never to be committed: {folder / 'figures'}")


if __name__ == "__main__":
    run_command(main)
