"""The adapters: which names and rows become samples, and what is reported of the others."""

from pathlib import Path

import pytest

pytest.importorskip("training.dataset.formats", reason="training/ is in no wheel: it runs from a checkout")

from lgin_edge import InputError
from training.dataset import formats
from training.dataset.formats import Format, Problem, Sample


@pytest.fixture
def folder(tmp_path):
    """Makes empty files of these names in a folder: no adapter opens a picture."""

    def make(*names):
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return tmp_path

    return make


def reasons(problems):
    return {problem.name: problem.reason for problem in problems}


def test_utkface(folder):
    root = folder(
        "part1/26_1_2_20170116184024662.jpg.chip.jpg",
        "100_0_0_20170112213500903.jpg",
        "1_0_4_20161219200338012.JPG",
        "61_1_20170109142408075.jpg",  # one of the set's own names without a race
        "61_3_20170109150557335.jpg",
        "130_0_0_20170112213500903.jpg",
        "26_2_0_20170116184024662.jpg",
        "portrait.jpg",
        "readme.txt",
        ".26_1_2_20170116184024662.jpg",
    )
    samples, problems = formats.read(Format.utkface, root)
    assert samples == [
        Sample(Path("100_0_0_20170112213500903.jpg"), 100, "M"),
        Sample(Path("1_0_4_20161219200338012.JPG"), 1, "M"),
        Sample(Path("part1/26_1_2_20170116184024662.jpg.chip.jpg"), 26, "F"),
    ]
    assert len(problems) == 5
    assert set(reasons(problems).values()) == {formats.MALFORMED_NAME}


def test_cacd(folder):
    root = folder(
        "53_Robin_Williams_0001.jpg",
        "45_Robert_Downey_Jr._0012.jpg",
        "30_Chloë_Grace-Moretz_0003.jpg",
        "40_50_Cent_0001.jpg",
        "Robin_Williams_0001.jpg",
        "53_0001.jpg",
        "53_Robin_Williams.jpg",
        "530_Robin_Williams_0001.jpg",
    )
    samples, problems = formats.read(Format.cacd, root)
    assert {(sample.age, sample.gender, sample.person) for sample in samples} == {
        (53, "", "Robin Williams"),
        (45, "", "Robert Downey Jr."),
        (30, "", "Chloë Grace-Moretz"),
        (40, "", "50 Cent"),
    }
    assert len(problems) == 4
    assert set(reasons(problems).values()) == {formats.MALFORMED_NAME}


FFHQ = """image_number,age_group,age_group_confidence,gender,gender_confidence,head_pitch,head_roll
0,0-2,1.0,male,1.0,-5.2,0.1
1,20-29,0.8,female,1.0,1,2
2,70-120,0.9,female,0.4,1,2
3,30-39,0.3,male,1.0,1,2
4,thirties,1.0,male,1.0,1,2
five,30-39,1.0,male,1.0,1,2
6,30-39,sure,male,1.0,1,2
7,30-39,1.0,robot,1.0,1,2
8,30-39
69999,50-69,1.0,male,1.0,1,2
"""


def test_ffhq_aging(folder):
    root = folder(*(f"{i // 5 * 5:05}/{i:05}.png" for i in range(10)), "cover.png")
    (root / formats.FFHQ_TABLE).write_text(FFHQ)
    samples, problems = formats.read(Format.ffhq_aging, root, min_confidence=0.5)
    assert samples == [
        Sample(Path("00000/00000.png"), 1, "M"),
        Sample(Path("00000/00001.png"), 24.5, "F"),
        Sample(Path("00000/00002.png"), 74.5, ""),  # 70 and over; the gender is too unsure
        Sample(Path("00005/00008.png"), 34.5, ""),  # a short row: nothing says that it is unsure
    ]
    assert reasons(problems) == {
        "00000/00003.png": formats.UNCERTAIN_AGE,
        "00005/00005.png": formats.NO_LABEL,
        "00005/00009.png": formats.NO_LABEL,
        f"{formats.FFHQ_TABLE}:6": formats.MALFORMED_ROW,
        f"{formats.FFHQ_TABLE}:7": formats.MALFORMED_ROW,
        f"{formats.FFHQ_TABLE}:8": formats.MALFORMED_ROW,
        f"{formats.FFHQ_TABLE}:9": formats.MALFORMED_ROW,
        f"{formats.FFHQ_TABLE}:11": formats.NO_PICTURE,
    }
    everybody, _ = formats.read(Format.ffhq_aging, root)
    assert Sample(Path("00000/00002.png"), 74.5, "F") in everybody
    assert Sample(Path("00000/00003.png"), 34.5, "M") in everybody


def test_csv(folder):
    root = folder("a.jpg", "b/c.jpg", "d.jpg", "e.jpg", "f.jpg")
    table = root / "elsewhere.csv"
    # With the mark that spreadsheets put in front, blanks, a path with a comma, and bytes that are no UTF-8.
    table.write_bytes(
        b"\xef\xbb\xbfperson,path,age,gender\n"
        b"p1, a.jpg ,30.5,male\n"
        b',./b/c.jpg,70,\n"x, y",d.jpg,0,F\n'
        b"p1,b/c.jpg,71,M\n"
        b"p1,e.jpg,old,M\np1,e.jpg,-1,M\np1,e.jpg,nan,M\np1,e.jpg,30,Q\n,,30,\n"
        b"\xff,\xff.jpg,30,\n"
        b"p1,e.jpg\n"
        b"p1,f.jpg,121,F,more,and more\n"
        b"p1," + 5000 * b"x" + b".jpg,30,F\n"
    )
    samples, problems = formats.read(Format.csv, root, table)
    assert samples == [
        Sample(Path("a.jpg"), 30.5, "M", "p1"),
        Sample(Path("b/c.jpg"), 70, "", ""),
        Sample(Path("d.jpg"), 0, "F", "x, y"),
    ]
    assert [problem.reason for problem in problems] == [
        formats.LISTED_TWICE,
        *[formats.MALFORMED_ROW] * 5,
        formats.NO_PICTURE,
        *[formats.MALFORMED_ROW] * 2,
        formats.NO_PICTURE,
    ]
    assert problems[1] == Problem("elsewhere.csv:6", formats.MALFORMED_ROW, "age: expected 0 to 120 years, got 'old'")


def test_csv_needs_only_path_and_age(folder):
    root = folder("a.jpg")
    (root / formats.CSV_TABLE).write_text(f"age,path\n30,{root}/a.jpg\n")
    assert formats.read(Format.csv, root) == ([Sample(root / "a.jpg", 30)], [])


@pytest.mark.parametrize("kind", [Format.csv, Format.ffhq_aging])
def test_a_table_that_cannot_be_used(folder, kind):
    root = folder("a.jpg")
    with pytest.raises(InputError, match="cannot be read"):
        formats.read(kind, root)
    (root / "table.csv").write_text("file,years\n")
    with pytest.raises(InputError, match="is missing"):
        formats.read(kind, root, root / "table.csv")
    (root / "table.csv").write_text("")
    with pytest.raises(InputError, match="is missing"):
        formats.read(kind, root, root / "table.csv")


def test_a_table_where_none_belongs(folder):
    with pytest.raises(InputError, match="leave out the table"):
        formats.read(Format.cacd, folder("a.jpg"), Path("labels.csv"))
