"""Raw photographs in, training data out: faces found, aligned, labelled and split.

    python -m training.prepare UTKFace/ faces/ --format utkface

Faces are aligned as the run time does it (``training.dataset.alignment``). OUT is what ``training.dataset.labels`` reads:
``labels.csv`` and ``images/``, with the columns of the portraits that apply. A face whose photograph has real detail at 384 px
is stored at that size (tier A), others at 192 px (tier B). Beside them lie ``rejected.csv``, ``report.json`` and the journal
``prepare.jsonl``.

Pictures are JPEG, as the portraits are, but of quality 95 without chroma subsampling: that changes a level by 1.1 (RMS, the
astronaut at 384 px), less than a camera's noise, in a third of the bytes of a PNG.

Each picture is judged alone, and the tables are made from all verdicts at the end, in the order of the names. So they do not
depend on the order of the work, on the number of workers, or on how often it was interrupted.
"""

from __future__ import annotations

import csv
import hashlib
import platform
from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import metadata
from json import dumps
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import lgin_edge
from lgin_edge._process import usable_cores
from lgin_edge.detectors import centerface
from lgin_edge.errors import InputError
from lgin_edge.files import atomic_write

from .dataset.alignment import SIZES, Job, Json, Limits, align
from .dataset.formats import Format, Problem, Sample, read
from .dataset.journal import Journal

SPLITS = ("train", "val", "test")
#: Reasons to leave a sample out, beside those of ``training.dataset.formats`` and ``training.dataset.alignment``.
AGE_OUTSIDE, DUPLICATE = "age outside", "duplicate"

WRONG_USAGE, FAILED, INTERRUPTED = 2, 4, 130
_out = Console(highlight=False, markup=False, soft_wrap=True)
_err = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)


@dataclass(frozen=True)
class Options:
    """All that a result depends on, but the pictures themselves; see ``--help``. Raises InputError if they contradict."""

    source: Path
    kind: Format
    labels: Path | None = None
    min_age: float = 18
    max_age: float = 100
    min_eye_px: float = 20
    max_turn: float = 0.22
    max_outside: float = 0.25
    min_confidence: float = 0
    val: float = 0.05
    test: float = 0.1

    def __post_init__(self) -> None:
        if self.min_age > self.max_age:
            raise InputError(f"--min-age {self.min_age:g} is above --max-age {self.max_age:g}")
        if self.val + self.test > 1:
            raise InputError(f"--val {self.val:g} and --test {self.test:g} are more than 1 together")

    def to_json(self) -> Json:
        """With what else decides how a face is found and cut: the detector and the package."""
        paths = {"source": str(self.source.resolve()), "labels": str(self.labels.resolve()) if self.labels else None}
        made_with = {
            "lgin-edge": lgin_edge.__version__,
            "detector": hashlib.sha256(centerface.WEIGHTS.read_bytes()).hexdigest()[:16],
        }
        return asdict(self) | paths | {"kind": self.kind.value} | made_with


def prepare(options: Options, out: Path, workers: int = 1) -> Json:
    """Do the work, or the rest of it; returns what ``report.json`` says.

    Raises:
        InputError: nothing usable in the source, or OUT cannot be used.
        OSError: OUT cannot be written any more.
    """
    source, out = options.source.resolve(), out.resolve()
    if out.is_relative_to(source) or source.is_relative_to(out):
        raise InputError(f"{out}: one of SOURCE and OUT lies in the other; give an OUT elsewhere")
    samples, problems = read(options.kind, source, options.labels, min_confidence=options.min_confidence)
    wanted = []
    for sample in samples:
        if options.min_age <= sample.age <= options.max_age:
            wanted.append(sample)
        else:
            problems.append(Problem(sample.path.as_posix(), AGE_OUTSIDE, f"{sample.age:g} years"))
    if not wanted:
        counts = Counter(problem.reason for problem in problems).items()
        why = ", ".join(f"{reason}: {count}" for reason, count in counts) or "no picture files"
        first = f"; the first is {problems[0].name}: {problems[0].detail}" if problems else ""
        raise InputError(f"{source}: nothing usable as {options.kind.value} ({why}{first})")
    limits = Limits(options.min_eye_px, options.max_turn, options.max_outside)
    jobs = [Job(sample.path.as_posix(), source / sample.path, out, limits) for sample in wanted]
    with closing(Journal(out, options.to_json())) as journal:
        look(jobs, journal, workers)
        rows, rejected = tabulate(wanted, journal.verdicts, options)
        rejected = sorted([*problems, *rejected])
        report = summarise(rows, rejected, options)
        write_tables(out, rows, rejected, report)
    return report


def look(jobs: Sequence[Job], journal: Journal, workers: int) -> None:
    """Align what the journal does not hold yet, showing how long that takes; each verdict is written down at once."""
    todo = [job for job in jobs if not journal.holds(job)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_err) as progress, closing(align_all(todo, workers)) as verdicts:
        task = progress.add_task("looking for faces", total=len(jobs), completed=len(jobs) - len(todo))
        for verdict in verdicts:
            journal.add(verdict)
            progress.advance(task)


def align_all(jobs: Sequence[Job], workers: int) -> Generator[Json, None, None]:
    """Verdicts on pictures, in their order. Closing the generator stops the threads after what they have at hand."""
    if workers == 1:
        yield from map(align, jobs)
        return
    with ThreadPoolExecutor(workers) as pool:
        yield from pool.map(align, jobs)


def split_of(identity: str, val: float, test: float) -> str:
    """The split of a person or picture: its id draws a fixed number in [0, 1), and the lowest are tested.

    So it depends on nothing else, and a larger ``val`` moves no person out of the test split.
    """
    digest = hashlib.sha256(b"lgin-edge split\0" + identity.encode("utf-8", "surrogateescape")).digest()
    drawn = int.from_bytes(digest[:8], "big") / 2**64
    return "test" if drawn < test else "val" if drawn < test + val else "train"


def tabulate(
    samples: Iterable[Sample], verdicts: dict[str, Json], options: Options
) -> tuple[list[Json], list[Problem]]:
    """Rows of labels.csv, and the samples that give none. Of pictures with the same bytes the first name counts."""
    rows, rejected = [], []
    first: dict[str, str] = {}
    for sample in samples:
        name = sample.path.as_posix()
        verdict = verdicts[name]
        if "row" not in verdict:
            rejected.append(Problem(name, verdict["reason"], verdict["detail"]))
            continue
        content = verdict["sha256"]
        if first.setdefault(content, name) != name:
            rejected.append(Problem(name, DUPLICATE, f"the same bytes as {first[content]}"))
            continue
        # Who is unknown is taken for somebody of their own, not for the same as all the others.
        identity = sample.person or content
        labels = {
            "split": split_of(identity, options.val, options.test),
            "bioguide": identity,  # the portraits' name for the id of the person, which training.evaluate reads
            "gender": sample.gender,
            "age": sample.age,
            "age_kind": "group" if options.kind is Format.ffhq_aging else "stated",
            "source": options.kind.value,
            "upstream_file": name,
        }
        rows.append(labels | verdict["row"])
    return rows, rejected


def summarise(rows: Sequence[Json], rejected: Sequence[Problem], options: Options) -> Json:
    """What ``report.json`` says; nothing in it depends on when or how the work was done."""
    packages = ("numpy", "onnxruntime", "pillow")
    decades = Counter(int(row["age"] // 10) * 10 for row in rows)
    splits = {split: [row for row in rows if row["split"] == split] for split in SPLITS}
    return {
        "kept": len(rows),
        "rejected": len(rejected),
        "reasons": dict(Counter(problem.reason for problem in rejected).most_common()),
        "ages": {f"{decade}-{decade + 9}": decades[decade] for decade in sorted(decades)},
        "tiers": {tier: sum(row["tier"] == tier for row in rows) for tier in SIZES},
        "gender": {name or "unknown": sum(row["gender"] == name for row in rows) for name in ("M", "F", "")},
        "splits": {
            split: {"pictures": len(chosen), "people": len({row["bioguide"] for row in chosen})}
            for split, chosen in splits.items()
        },
        "options": options.to_json(),
        "versions": {"lgin-edge": lgin_edge.__version__, "python": platform.python_version()}
        | {name: metadata.version(name) for name in packages},
    }


def write_tables(out: Path, rows: Sequence[Json], rejected: Sequence[Problem], report: Json) -> None:
    """``labels.csv``, ``rejected.csv`` and ``report.json``, each whole or not at all."""
    tables = {
        "labels.csv": (list(rows[0]) if rows else ["file", "split"], rows),
        "rejected.csv": (list(Problem._fields), [p._asdict() for p in rejected]),
    }
    for name, (fields, table) in tables.items():
        # The name of a file need not be text; what is not UTF-8 is escaped.
        text = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}
        with atomic_write(out / name) as partial, partial.open("w", **text) as file:
            writer = csv.DictWriter(file, fields)
            writer.writeheader()
            writer.writerows(table)
    with atomic_write(out / "report.json") as partial:
        partial.write_text(dumps(report, indent=2) + "\n", encoding="utf-8")


def print_report(report: Json, out: Path) -> None:
    kept = Table("kept", "pictures", "people", box=None, pad_edge=False)
    for split, counts in report["splits"].items():
        kept.add_row(split, str(counts["pictures"]), str(counts["people"]))
    left_out = Table("left out", "pictures", box=None, pad_edge=False)
    for reason, count in report["reasons"].items():
        left_out.add_row(reason, str(count))
    _out.print(kept, "", *([left_out, ""] if report["reasons"] else []), sep="\n")
    tiers = ", ".join(f"{count} of tier {tier} ({SIZES[tier]} px)" for tier, count in report["tiers"].items())
    _out.print(f"{out}: {report['kept']} faces, {tiers}; rejected.csv and report.json there say more")
    empty = [split for split, counts in report["splits"].items() if not counts["pictures"]]
    if report["kept"] and empty:
        _err.print(
            f"no picture fell to {' and '.join(empty)}: for so few people give larger fractions (and another OUT)"
        )


def main(
    source: Annotated[
        Path,
        typer.Argument(
            exists=True, file_okay=False, help="Folder of photographs, at any depth. Nothing in it changes."
        ),
    ],
    out: Annotated[Path, typer.Argument(help="Folder of the result: new, empty, or begun by this command.")],
    kind: Annotated[Format, typer.Option("--format", help="How the labels are written.")],
    labels: Annotated[
        Path | None,
        typer.Option(help="Table of ffhq-aging (default: ffhq_aging_labels.csv in SOURCE) or csv (labels.csv)."),
    ] = Options.labels,
    min_age: Annotated[float, typer.Option(min=0, max=120, help="Youngest, years.")] = Options.min_age,
    max_age: Annotated[float, typer.Option(min=0, max=120, help="Oldest, years.")] = Options.max_age,
    min_eye_px: Annotated[
        float, typer.Option(min=1, help="Least distance between the eyes, pixels of the photograph.")
    ] = Options.min_eye_px,
    max_turn: Annotated[
        float,
        typer.Option(min=0, help="How far the nose may be off the midline, eye distances; 0.22 is some 30 degrees."),
    ] = Options.max_turn,
    max_outside: Annotated[
        float, typer.Option(min=0, max=1, help="Fraction of the face's square that may lie outside the photograph.")
    ] = Options.max_outside,
    min_confidence: Annotated[
        float, typer.Option(min=0, max=1, help="ffhq-aging: how sure an age group must be, and a gender to be used.")
    ] = Options.min_confidence,
    val: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the people in the split val.")] = Options.val,
    test: Annotated[float, typer.Option(min=0, max=1, help="Fraction of the people in the split test.")] = Options.test,
    workers: Annotated[
        int | None,
        typer.Option(min=1, max=256, help="Threads. Default: as many as there are cores.", show_default=False),
    ] = None,
) -> None:
    """Turn a folder of photographs with known ages into training data: aligned, labelled, split.

    Examples:

      python -m training.prepare UTKFace/ faces/ --format utkface

      python -m training.prepare CACD2000/ faces/ --format cacd --workers 8

      python -m training.prepare ffhq/ faces/ --format ffhq-aging --min-confidence 0.8

      python -m training.prepare photos/ faces/ --format csv --labels ages.csv

      python -m training.fit runs/mine --data faces/

    utkface and cacd have the labels in the file names: AGE_GENDER_RACE_DATE.jpg (0 is male), AGE_Name_Surname_0001.jpg. A csv
    has the columns path (relative to SOURCE) and age, and may have gender (M, F) and person.

    Interrupted (Ctrl-C), the same command goes on where it stopped. A person is in one split only, where persons are known;
    without, two pictures of one person may be in two. What is left out, and why, stands in OUT/rejected.csv.
    From a set of tightly cropped faces much is left out as cut off by the border: take the uncropped pictures if there are
    any, or raise --max-outside.

    Exit codes: 0 done, 2 wrong usage or no usable picture, 4 OUT could not be written, 130 interrupted.
    """
    try:
        options = Options(
            source, kind, labels, min_age, max_age, min_eye_px, max_turn, max_outside, min_confidence, val, test
        )
        report = prepare(options, out, workers or usable_cores())
    except InputError as error:
        _err.print(f"error: {error}")
        raise typer.Exit(WRONG_USAGE) from None
    except OSError as error:
        _err.print(f"error: {error}; once that is mended, the same command goes on")
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        _err.print("interrupted; the same command goes on from here")
        raise typer.Exit(INTERRUPTED) from None
    print_report(report, out)
    if not report["kept"]:
        _err.print("error: no picture could be used")
        raise typer.Exit(WRONG_USAGE)


app = typer.Typer(pretty_exceptions_enable=False, add_completion=False)
app.command(no_args_is_help=True)(main)

if __name__ == "__main__":
    app()
