"""From raw photographs to training data: what is kept and how it lies, what is left out and why, and going on after a stop."""

import csv
import fcntl
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import loose
import numpy as np
import pytest
from PIL import Image
from tolerances import assert_close
from typer.testing import CliRunner

pytest.importorskip("skimage", reason="the faces are scikit-image's astronaut")
pytest.importorskip("training.dataset.formats", reason="training/ is in no wheel: it runs from a checkout")

from lgin_edge import geometry
from lgin_edge.detectors import centerface
from lgin_edge.faces import Face
from training import prepare
from training.dataset import alignment, journal, labels
from training.dataset.alignment import Limits
from training.dataset.formats import Format, Sample

ANY = Limits(min_eye_px=1, max_turn=9, max_outside=1)
#: name: age, gender, person, and the reason why it is left out ("" if it is kept).
PEOPLE = {
    "plain.jpg": (45, "F", "Eileen", ""),
    "large.jpg": (46, "F", "Eileen", ""),
    "turned.jpg": (47, "F", "Eileen", ""),
    "mirrored.png": (62, "M", "Noelle", ""),
    "folder/ä, grey.webp": (30, "", "", ""),
    "bystander.jpg": (35, "", "", ""),
    "middle.jpg": (36, "", "", ""),
    "z-copy.jpg": (45, "F", "Eileen", prepare.DUPLICATE),
    "two.jpg": (50, "", "", alignment.SEVERAL_FACES),
    "blank.png": (50, "", "", alignment.NO_FACE),
    "cut-off.jpg": (50, "", "", alignment.CUT_OFF),
    "truncated.jpg": (50, "", "", alignment.CORRUPT),
    "text.jpg": (50, "", "", alignment.NOT_AN_IMAGE),
    "empty.jpg": (50, "", "", alignment.NOT_AN_IMAGE),
    "animation.gif": (50, "", "", alignment.UNSUITABLE),
    "ribbon.png": (50, "", "", alignment.NO_FACE),
    "small.jpg": (50, "", "", alignment.TOO_SMALL),
    "child.jpg": (11, "", "", prepare.AGE_OUTSIDE),
}
KEPT = {name for name, about in PEOPLE.items() if not about[3]}


def scaled(picture, factor):
    return picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.LANCZOS)


def beside(*parts):
    sheet = Image.new("RGB", (sum(part.width for part in parts), parts[0].height), (90, 100, 120))
    for i, part in enumerate(parts):
        sheet.paste(part, (sum(before.width for before in parts[:i]), 0))
    return sheet


@pytest.fixture(scope="module")
def photographs(tmp_path_factory, astronaut):
    """A researcher's folder, with a table of all that lies in it."""
    root = tmp_path_factory.mktemp("photographs")
    (root / "folder").mkdir()
    face = Image.fromarray(astronaut)
    best = {"quality": 95, "subsampling": 0}
    face.save(root / "plain.jpg", **best)
    (root / "z-copy.jpg").write_bytes((root / "plain.jpg").read_bytes())
    scaled(face, 2).save(root / "large.jpg", **best)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be seen turned clockwise by 90 degrees
    face.transpose(Image.Transpose.ROTATE_90).save(root / "turned.jpg", exif=exif, **best)
    face.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(root / "mirrored.png")
    face.convert("L").save(root / "folder" / "ä, grey.webp", quality=95)
    beside(face, scaled(face, 0.5)).save(root / "bystander.jpg", **best)
    beside(face, face).save(root / "two.jpg")
    beside(face, face, face).save(root / "middle.jpg")
    Image.new("RGB", (320, 240), (120, 130, 140)).save(root / "blank.png")
    face.crop((170, 50, 280, 190)).save(root / "cut-off.jpg", **best)
    (root / "truncated.jpg").write_bytes((root / "plain.jpg").read_bytes()[:20000])
    (root / "text.jpg").write_text("not a photograph")
    (root / "empty.jpg").touch()
    face.save(root / "animation.gif", save_all=True, append_images=[face.transpose(Image.Transpose.FLIP_TOP_BOTTOM)])
    Image.new("RGB", (70000, 4)).save(root / "ribbon.png")
    scaled(face, 0.3).save(root / "small.jpg", **best)
    face.save(root / "child.jpg", quality=90)
    with (root / "labels.csv").open("w", newline="", encoding="utf-8") as file:
        rows = [(name, *about[:3]) for name, about in PEOPLE.items()]
        csv.writer(file).writerows([("path", "age", "gender", "person"), *rows])
    return root


def command(source, out, *options, workers=1):
    arguments = [source, out, "--format", "csv", "--val", "0.3", "--test", "0.3", "--workers", workers, *options]
    return [str(argument) for argument in arguments]


def call(*arguments, **keywords):
    """The command in this process: (exit code, all that it printed)."""
    result = CliRunner().invoke(prepare.app, command(*arguments, **keywords))
    return result.exit_code, result.output


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def points(row):
    return np.array([[float(row[f"{name}_{axis}"]) for axis in "xy"] for name in labels.POINTS])


@pytest.fixture(scope="module")
def prepared(photographs, tmp_path_factory):
    """The result of one whole run."""
    out = tmp_path_factory.mktemp("prepared") / "faces"
    before = contents(photographs)
    code, output = call(photographs, out)
    assert code == 0, output
    assert contents(photographs) == before
    assert f"{len(KEPT)} faces" in output
    return out


def test_every_picture_is_kept_or_left_out_with_its_reason(prepared):
    rows = {row["upstream_file"]: row for row in rows_of(prepared / "labels.csv")}
    assert set(rows) == KEPT
    assert list(rows) == sorted(rows)
    rejected = {row["name"]: row["reason"] for row in rows_of(prepared / "rejected.csv")}
    assert rejected == {name: about[3] for name, about in PEOPLE.items() if about[3]}
    for name, row in rows.items():
        age, gender, person, _ = PEOPLE[name]
        assert (float(row["age"]), row["gender"]) == (age, gender)
        assert row["bioguide"] == person or (not person and len(row["bioguide"]) == 64)
    assert {path.name for path in (prepared / "images").iterdir()} == {Path(row["file"]).name for row in rows.values()}


def test_tiers_follow_the_source(prepared):
    rows = {row["upstream_file"]: row for row in rows_of(prepared / "labels.csv")}
    assert {name for name, row in rows.items() if row["tier"] == "A"} == {"large.jpg"}
    for row in rows.values():
        with Image.open(prepared / row["file"]) as picture:
            side = int(row["size"])
            assert (picture.format, picture.mode, picture.size) == ("JPEG", "RGB", (side, side))
            assert side == alignment.SIZES[row["tier"]]
    # 42.7 px between the astronaut's eyes, as found when this was written.
    assert float(rows["plain.jpg"]["src_eye_px"]) == pytest.approx(42.7, abs=1)
    assert float(rows["large.jpg"]["src_eye_px"]) == pytest.approx(85.4, abs=2)


def test_landmarks_land_on_the_face(prepared):
    """The detector finds them again where the table says, and near the template."""
    detector = centerface.CenterFace()
    for row in rows_of(prepared / "labels.csv"):
        side = int(row["size"])
        with Image.open(prepared / row["file"]) as picture:
            found = detector(np.asarray(picture))[0].landmarks
        assert np.abs(found - points(row)).max() < 0.02 * side, row["upstream_file"]
        assert np.abs(points(row) / side - geometry.TEMPLATE).max() < 0.04, row["upstream_file"]


def test_a_turned_and_a_mirrored_photograph_give_the_same_face(prepared):
    rows = {row["upstream_file"]: row for row in rows_of(prepared / "labels.csv")}
    plain = points(rows["plain.jpg"])
    # The same scene through another JPEG: a fraction of a pixel.
    assert np.abs(points(rows["turned.jpg"]) - plain).max() < 0.5
    mirrored = points(rows["mirrored.png"])[[1, 0, 2, 4, 3]]
    mirrored[:, 0] = 192 - mirrored[:, 0]
    assert np.abs(mirrored - plain).max() < 2
    assert float(rows["mirrored.png"]["yaw_proxy"]) == pytest.approx(-float(rows["plain.jpg"]["yaw_proxy"]), abs=0.03)


def test_the_face_is_cut_as_the_run_time_cuts_it(astronaut):
    cut, row = alignment.cut(astronaut, ANY)
    (face,) = centerface.CenterFace()(astronaut)
    affine = geometry.fit_similarity(face.landmarks)
    view, _ = loose.reference_crop(astronaut, affine[None], geometry.REGION_BOXES[None], face_size=192, patch_size=1)
    assert_close(cut, np.rint((view[0].transpose(1, 2, 0) + 1) * 127.5).astype(np.uint8), kind="frame")
    inverse = geometry.invert(affine)
    assert np.abs(points(row) - 192 * geometry.apply(inverse, face.landmarks)).max() < 0.01


def test_what_jpeg_costs(prepared, photographs):
    row = next(row for row in rows_of(prepared / "labels.csv") if row["upstream_file"] == "large.jpg")
    face, _ = alignment.cut(alignment.load(photographs / "large.jpg")[1], ANY)
    with Image.open(prepared / row["file"]) as picture:
        difference = np.asarray(picture).astype(float) - face
    assert np.sqrt((difference**2).mean()) < 1.5


def test_limits(astronaut):
    with pytest.raises(alignment.Rejected, match=alignment.TURNED):
        alignment.cut(astronaut, ANY._replace(max_turn=0.0))
    with pytest.raises(alignment.Rejected, match=alignment.TOO_SMALL):
        alignment.cut(astronaut, ANY._replace(min_eye_px=50))
    # 1.0 is the share of a square that lies wholly outside.
    assert alignment.outside_fraction(np.array([[10.0, 0, 90], [0, 10, 0]]), 100, 100) == 0
    assert alignment.outside_fraction(np.array([[10.0, 0, 95], [0, 10, 0]]), 100, 100) == pytest.approx(0.5)
    assert alignment.outside_fraction(np.array([[10.0, 0, 200], [0, 10, 0]]), 100, 100) == 1


def test_training_reads_it(prepared):
    rows, photos = rows_of(prepared / "labels.csv"), labels.read(prepared)
    assert [photo.age for photo in photos] == [float(row["age"]) for row in rows]
    assert [photo.sharp for photo in photos] == [row["tier"] == "A" for row in rows]
    for photo in photos:
        assert photo.frame().shape == (photo.size, photo.size, 3)
        assert np.abs(photo.landmarks / photo.size - geometry.TEMPLATE).max() < 0.04


def test_report(prepared):
    report = json.loads((prepared / "report.json").read_text())
    assert report["kept"] == len(KEPT)
    assert report["rejected"] == len(PEOPLE) - len(KEPT)
    assert report["reasons"][alignment.NOT_AN_IMAGE] == 2
    assert sum(report["reasons"].values()) == report["rejected"]
    assert report["ages"] == {"30-39": 3, "40-49": 3, "60-69": 1}
    assert report["tiers"] == {"A": 1, "B": len(KEPT) - 1}
    assert report["gender"] == {"M": 1, "F": 3, "unknown": 3}
    assert sum(split["pictures"] for split in report["splits"].values()) == len(KEPT)
    assert report["options"]["min_eye_px"] == 20
    assert {"lgin-edge", "numpy", "onnxruntime", "pillow", "python"} <= set(report["versions"])


def test_nobody_is_in_two_splits(prepared):
    where = {}
    for row in rows_of(prepared / "labels.csv"):
        where.setdefault(row["bioguide"], set()).add(row["split"])
    assert len(where) == len(KEPT) - 2  # three pictures of Eileen
    assert all(len(splits) == 1 for splits in where.values())
    assert set().union(*where.values()) == set(prepare.SPLITS)


def test_splits_keep_their_shares_and_change_only_by_their_own():
    people = [f"person {i}" for i in range(4000)]
    splits = [prepare.split_of(person, 0.1, 0.2) for person in people]
    # Three standard deviations of a share of 4000 draws.
    assert splits.count("test") / 4000 == pytest.approx(0.2, abs=0.02)
    assert splits.count("val") / 4000 == pytest.approx(0.1, abs=0.015)
    wider = [prepare.split_of(person, 0.3, 0.2) for person in people]
    assert {(old, new) for old, new in zip(splits, wider, strict=True) if old != new} == {("train", "val")}
    assert {prepare.split_of(person, 0, 0) for person in people} == {"train"}
    assert {prepare.split_of(person, 0, 1) for person in people} == {"test"}


def test_the_subject_of_a_picture():
    def face(x, y, side):
        return Face(geometry.TEMPLATE * side + (x, y), 1.0, (x, y, x + side, y + side))

    small, large, middle = face(0, 0, 20), face(60, 0, 40), face(30, 30, 30)
    assert alignment.subject([small], 100, 100) is small
    assert alignment.subject([large, small], 100, 100) is large
    assert alignment.subject([large, middle, small], 100, 100) is middle
    with pytest.raises(alignment.Rejected, match=alignment.SEVERAL_FACES):
        alignment.subject([large, face(0, 60, 40)], 100, 100)
    with pytest.raises(alignment.Rejected, match=alignment.SEVERAL_FACES):
        alignment.subject([face(40, 40, 30), middle], 100, 100)
    with pytest.raises(alignment.Rejected, match=alignment.NO_FACE):
        alignment.subject([], 100, 100)


def test_on_a_full_disk_or_interrupted_it_goes_on_where_it_was(photographs, prepared, tmp_path, monkeypatch):
    out = tmp_path / "faces"
    seen = []

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(alignment.images, "write", full)
        code, output = call(photographs, out)
    assert code == prepare.FAILED
    assert "No space left" in output
    assert not (out / "labels.csv").exists()
    before = (out / journal.NAME).read_bytes().count(b"\n") - 1  # without a face, and so nothing to write

    def until_the_fifth(job):
        seen.append(job.name)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return alignment.align(job)

    monkeypatch.setattr(prepare, "align", until_the_fifth)
    code, output = call(photographs, out)
    assert code == prepare.INTERRUPTED
    assert "goes on" in output
    assert not (out / "labels.csv").exists()
    code, output = call(photographs, out)
    assert code == 0, output
    assert len(seen) == 1 + len(PEOPLE) - 1 - before  # the fifth was seen twice, and the child never
    assert contents(out) == contents(prepared)
    code, output = call(photographs, out)
    assert code == 0, output
    assert len(seen) == len(PEOPLE) - before
    assert contents(out) == contents(prepared)


def test_killed_it_goes_on_where_it_was(photographs, prepared, tmp_path, subprocess_env):
    out = tmp_path / "faces"
    program = (
        "import os, signal, sys\n"
        "from training import prepare\nfrom training.dataset import alignment\n"
        "left = 5\n"
        "def align(job):\n"
        "    global left\n"
        "    left -= 1\n"
        "    left or os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return alignment.align(job)\n"
        "prepare.align = align\n"
        "prepare.app()\n"
    )
    root = str(Path(prepare.__file__).parent.parent)
    env = subprocess_env | {"PYTHONPATH": os.pathsep.join((subprocess_env["PYTHONPATH"], root))}
    done = subprocess.run(
        [sys.executable, "-c", program, *command(photographs, out)], env=env, capture_output=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    written = (out / journal.NAME).read_bytes()
    assert written.count(b"\n") == 5
    # Killed as it wrote: half a line, and half a picture under its temporary name.
    (out / journal.NAME).write_bytes(written + b'{"name": "zz", "sta')
    (out / "images" / ".abc.jpg.1234.tmp").write_bytes(b"half")
    code, output = call(photographs, out)
    assert code == 0, output
    assert contents(out) == contents(prepared)


def test_more_workers_give_the_same_result(photographs, prepared, tmp_path):
    code, output = call(photographs, tmp_path / "faces", workers=3)
    assert code == 0, output
    assert contents(tmp_path / "faces") == contents(prepared)


def test_changes_between_two_runs(photographs, prepared, tmp_path):
    """A changed or lost picture is looked at again, a new one too, and a corrected label counts."""
    source, out = tmp_path / "photographs", tmp_path / "faces"
    source.mkdir()
    for name in ("plain.jpg", "large.jpg", "blank.png"):
        (source / name).write_bytes((photographs / name).read_bytes())
    (source / "labels.csv").write_text("path,age\nplain.jpg,45\nlarge.jpg,46\nblank.png,47\n")
    assert call(source, out)[0] == 0
    assert [row["age"] for row in rows_of(out / "labels.csv")] == ["46.0", "45.0"]
    (source / "blank.png").write_bytes((photographs / "mirrored.png").read_bytes())
    (source / "turned.jpg").write_bytes((photographs / "turned.jpg").read_bytes())
    (source / "labels.csv").write_text("path,age\nplain.jpg,55\nturned.jpg,48\nlarge.jpg,46\nblank.png,47\n")
    lost = out / rows_of(out / "labels.csv")[0]["file"]
    lost.unlink()
    assert call(source, out)[0] == 0
    assert [row["age"] for row in rows_of(out / "labels.csv")] == ["47.0", "46.0", "55.0", "48.0"]
    assert lost.is_file()


def test_other_options_are_refused(photographs, prepared):
    before = contents(prepared)
    code, output = call(photographs, prepared, "--min-eye-px", "30")
    assert code == 2
    assert "min_eye_px: 20.0 then, 30.0 now" in output
    code, output = call(photographs, prepared, "--max-age", "70")
    assert code == 2
    assert "max_age" in output
    assert contents(prepared) == before


def test_a_folder_that_is_not_ours(photographs, tmp_path):
    for name, text in (("thesis.tex", "text"), (journal.NAME, "something else")):
        out = tmp_path / name.split(".")[1]
        out.mkdir()
        (out / name).write_text(text)
        code, output = call(photographs, out)
        assert code == 2
        assert "another folder" in output or "empty folder" in output
        assert contents(out) == {Path(name): text.encode()}


def test_two_at_once_are_refused(photographs, prepared):
    with (prepared / journal.NAME).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        code, output = call(photographs, prepared)
    assert code == 2
    assert "another training.prepare" in output


@pytest.mark.parametrize(
    ("source", "out", "options", "message"),
    [
        ("missing", "out", [], "does not exist"),
        ("file", "out", [], "is a file"),
        ("source", "file", [], "cannot be written"),
        ("source", "file/out", [], "cannot be written"),
        ("source", "source/out", [], "lies in the other"),
        ("source", ".", [], "lies in the other"),
        ("source", "out", [], "the first is labels.csv:2: path"),
        ("source", "out", ["--labels", "missing.csv"], "cannot be read"),
        ("source", "out", ["--min-age", "60", "--max-age", "50"], "--min-age 60"),
        ("source", "out", ["--val", "0.6", "--test", "0.6"], "more than 1"),
        ("source", "out", ["--format", "utkface"], "no picture files"),
    ],
)
def test_wrong_usage(tmp_path, monkeypatch, source, out, options, message):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    Path("source").mkdir()
    Path("file").touch()
    usable = message == "cannot be written"
    if usable:
        Path("source/a.jpg").touch()
    Path("source/labels.csv").write_text(f"path,age\n{'a.jpg' if usable else ''},30\n")
    before = contents(tmp_path)
    code, output = call(source, out, *options)
    assert code == 2, output
    assert message in " ".join(output.split())
    assert contents(tmp_path) == before
    assert not (tmp_path / "out").exists()


def test_no_picture_could_be_used(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "30_0_0_2017.jpg").touch()
    result = CliRunner().invoke(prepare.app, [str(tmp_path / "source"), str(tmp_path / "out"), "--format", "utkface"])
    assert result.exit_code == 2
    assert "no picture could be used" in result.output
    assert rows_of(tmp_path / "out" / "rejected.csv")[0]["reason"] == alignment.NOT_AN_IMAGE


def test_a_name_that_is_not_text(photographs, tmp_path):
    """Old archives hold names in Latin-1; they cost nothing but their spelling."""
    source = tmp_path / "source"
    source.mkdir()
    path = source / os.fsdecode(b"30_L\xe9a_Seydoux_0001.jpg")
    try:
        path.write_bytes((photographs / "plain.jpg").read_bytes())
    except OSError:
        pytest.skip("this file system takes only UTF-8 names")
    for _ in range(2):
        result = CliRunner().invoke(prepare.app, [str(source), str(tmp_path / "out"), "--format", "cacd"])
        assert result.exit_code == 0, result.output
        (row,) = rows_of(tmp_path / "out" / "labels.csv")
        assert row["bioguide"] == r"L\udce9a Seydoux"


def test_help_teaches():
    result = CliRunner().invoke(prepare.app, ["--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    for word in ("--format", "utkface", "ffhq-aging", "cacd", "csv", "--min-eye-px", "AGE_GENDER_RACE_DATE.jpg"):
        assert word in result.output


def test_the_same_bytes_count_once_whatever_the_order():
    row = {"file": "images/x_B.jpg", "tier": "B"}
    samples = [Sample(Path(name), 30.0) for name in ("a.jpg", "b.jpg", "c.jpg")]
    content = hashlib.sha256(b"x").hexdigest()
    verdicts = {name: {"row": row, "sha256": content} for name in ("c.jpg", "b.jpg")}
    verdicts["a.jpg"] = {"reason": alignment.UNREADABLE, "detail": ""}
    options = prepare.Options(Path(), Format.csv)
    for order in (verdicts, dict(reversed(verdicts.items()))):
        rows, rejected = prepare.tabulate(samples, order, options)
        assert [row["upstream_file"] for row in rows] == ["b.jpg"]
        assert [problem.reason for problem in rejected] == [alignment.UNREADABLE, prepare.DUPLICATE]
