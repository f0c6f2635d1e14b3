"""What ``training.evaluate`` found, as JSON, Markdown, figures and a contact sheet."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

if TYPE_CHECKING:
    from ..evaluate import Ager, Row

Json = dict[str, Any]

#: People and target groups of the contact sheet, and the side of its pictures in pixels.
_SHEET_PEOPLE, _SHEET_GROUPS, _SHEET_SIDE = 24, (0, 2, 4), 256


def write(result: Json, folder: Path) -> None:
    """Write ``report.json``, ``report.md``, ``age.png`` and ``identity.png``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(result, indent=1) + "\n")
    (folder / "report.md").write_text(markdown(result))
    draw_age(result, folder / "age.png")
    draw_identity(result, folder / "identity.png")


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A Markdown table; the first column left, the others right, a missing value as a dash."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "".join("| " + " | ".join("-" if v is None else str(v) for v in line) + " |\n" for line in lines) + "\n"


def headline(result: Json) -> str:
    """The one table to look at first, Markdown."""
    every = result["slices"]["all"]
    rows: list[list[Any]] = []
    for name, age in every["age"].items():
        real = result["estimators"][name]["real"]["all"]
        rows += [
            [f"{name}: its own error on the real faces, MAE (bias), years", f"{real['mae']} ({real['bias']:+})"],
            [
                f"{name}: MAE to the requested age (doing nothing)",
                f"{age['mae_overall']} ({age['nothing_mae_overall']})",
            ],
            [f"{name}: slope, years read for a year asked", age["slope"]],
            [f"{name}: rank correlation; share rising", f"{age['rank']}; {_share(age['rising'])}"],
        ]
    one, pairs = every["identity"], result["pairs"]
    rows += [
        ["identity: lowest mean cosine of the groups", min(one["cosine"])],
        [
            f"identity: verified at {pairs['threshold_cosine']} (1 % false accepts), worst group",
            _share(min(one["accepted"])),
        ],
        ["identity: verified at dlib's distance 0.6, worst group", _share(min(one["within_distance"]))],
        ["skin tone drift dE, worst group", max(every["skin"]["de"])],
        ["changed pixels outside the face's square", every["outside"]["changed"]],
    ]
    if "sharpness" in every:
        rows.append(["sharpness ratio, median by group", _list(every["sharpness"]["median"])])
    steady = result.get("temporal_consistency")
    if steady:
        worst = [max(steady[kind]["flicker"]) for kind in ("exact", "detected")]
        rows.append(["flicker, worst group, levels: exact landmarks; the detector's", _list(worst, "; ")])
    return table([f"{every['n']} people", "value"], rows)


def markdown(result: Json) -> str:
    """The whole report; the same result gives the same text."""
    parts = ["# Evaluation\n\n"]
    if "model" in result:
        about = result["model"]
        parts.append(f"`{about['file']}` ({about['name']}) on the {about['split']} split")
        parts.append(f", **trial: {about['limit']} portraits at most**.\n\n" if about["limit"] else ".\n\n")
    parts.append(headline(result))
    sections = (_judges, _age, _identity, _preservation, _temporal_consistency, _kid, _precision_parity, _failures)
    parts += [section(result) for section in sections]
    return "".join(parts).rstrip() + "\n"


def _judges(result: Json) -> str:
    text = "## The judges on the real faces\n\nTraining saw none of them. `estimated` labels are +-3 to 5 years themselves.\n\n"
    rows = []
    for name, one in result["estimators"].items():
        for kind, real in one["real"].items():
            values = [real["n"], real["mae"], f"{real['bias']:+}", real.get("rank"), real.get("slope")]
            rows.append([f"{name}, {kind}", *values])
        text += f"- **{name}**: {one['about']}. Bias on the val split {one['val_bias']:+} years.\n"
    return text + "\n" + table(["estimator, labels", "n", "MAE", "bias", "rank corr.", "slope over people"], rows)


def _age(result: Json) -> str:
    labels = [group["label"] for group in result["groups"]]
    centers = [group["center"] for group in result["groups"]]
    text = "## Age\n\nMean absolute error of the estimated age to the centre of the requested group, years; in brackets that "
    text += "of doing nothing.\n`corrected` subtracts the estimator's bias on the val split's real faces; nothing else does.\n"
    text += "Slope and rank correlation are a person's own, estimated over requested age, then averaged.\n\n"
    for name in result["estimators"]:
        every = result["slices"]["all"]["age"][name]
        asked = [f"{label} ({center:g})" for label, center in zip(labels, centers, strict=True)]
        text += f"### {name}\n\n" + table(["asked", *asked], [["mean estimate", *every["mean"]]])
        rows = []
        for cut, one in result["slices"].items():
            age = one["age"][name]
            errors = [f"{a} ({b})" for a, b in zip(age["mae"], age["nothing_mae"], strict=True)]
            whole = f"{age['mae_overall']} ({age['nothing_mae_overall']})"
            tail = [whole, age["corrected_mae"], age["slope"], age["rank"], _share(age["rising"])]
            rows.append([cut, one["n"], *errors, *tail])
        text += table(["people", "n", *labels, "all", "corrected", "slope", "rank", "rising"], rows)
    return text + "![estimated over requested age](age.png)\n\n"


def _identity(result: Json) -> str:
    pairs = result["pairs"]
    text = f"## Identity\n\nEmbedder: {pairs['embedder']} (not trained by us), aged picture against input. Its cosines are "
    text += "high even for strangers:\nread them against the real pairs, not against numbers of other embedders. "
    text += "Same-person pairs are a sharp and a small\nphotograph, often years apart. Doing nothing has cosine 1, distance 0.\n\n"
    rows = []
    for name in ("same", "different", "different, one gender"):
        if name in pairs:
            one = pairs[name]
            spread = [_list(one["cosine"]), _list(one["distance"])]
            rows.append([name, one["n"], *spread, _share(one["accepted"]), _share(one["within_distance"])])
    own = f"cosine >= {pairs['threshold_cosine']}"
    usual = f"distance < {pairs['threshold_distance']}"
    text += table(["real pairs", "n", "cosine 5, 50, 95 %", "distance 5, 50, 95 %", own, usual], rows)
    text += f"`{own}` lets {_share(pairs['false_accepts'])} of the different people through, `{usual}` is dlib's usual one.\n\n"
    labels = [group["label"] for group in result["groups"]]
    every = result["slices"]["all"]["identity"]
    kinds = {"cosine": "mean cosine", "cosine_min": "least cosine", "distance": "mean distance"}
    rows = [[title, *every[key]] for key, title in kinds.items()]
    rows += [[own, *map(_share, every["accepted"])], [usual, *map(_share, every["within_distance"])]]
    text += table(["aged to", *labels], rows)
    rows = [[cut, one["n"], *one["identity"]["cosine"]] for cut, one in result["slices"].items()]
    text += table(["mean cosine", "n", *labels], rows)
    rows = [[cut, one["n"], *map(_share, one["identity"]["accepted"])] for cut, one in result["slices"].items()]
    return text + table([own, "n", *labels], rows) + "![distributions](identity.png)\n\n"


def _preservation(result: Json) -> str:
    labels = [group["label"] for group in result["groups"]]
    every = result["slices"]["all"]
    text = "## Preservation\n\nOutside the face's square, in a larger frame with the portrait turned: "
    text += f"{every['outside']['changed']} pixels changed (must be 0),\nby {every['outside']['levels']} levels at most; inside it "
    text += f"at least {every['outside']['least_changed_inside']} pixels did change.\n\n"
    text += "Skin: CIELAB drift of cheeks and forehead (median colour), mean over people. Its dE is the mean of each person's, so\n"
    text += "that drifts of opposite signs do not cancel.\n\n"
    rows = [["dE", *every["skin"]["de"]]]
    rows += [[f"d{axis}", *(f"{one[i]:+}" for one in every["skin"]["lab"])] for i, axis in enumerate("Lab")]
    rows.append(["background, mean change in levels", *every["background"]])
    if "sharpness" in every:
        sharp = every["sharpness"]
        rows += [[f"sharpness ratio, {name} ({sharp['n']} sharp)", *sharp[name]] for name in ("median", "min", "max")]
    text += table(["aged to", *labels], rows)
    text += (
        "Background: beside and above the head inside the square; the paste's window fades the change there anyway.\n"
    )
    text += "Skin tones are a **measurement** from the picture's cheeks (individual typology angle), not a label: light and "
    text += "camera are in it.\n\n"
    rows = [[cut, one["n"], *one["skin"]["de"]] for cut, one in result["slices"].items()]
    text += table(["skin dE", "n", *labels], rows)
    cuts = [(cut, one["sharpness"]) for cut, one in result["slices"].items() if "sharpness" in one]
    rows = [[cut, sharp["n"], *sharp["median"]] for cut, sharp in cuts]
    text += table(["median sharpness ratio", "n", *labels], rows)
    rows = [[cut, one["n"], *one["background"]] for cut, one in result["slices"].items()]
    return text + table(["background change", "n", *labels], rows) + _glasses(result)


def _glasses(result: Json) -> str:
    found = result.get("glasses")
    if found is None:
        text = "Glasses: not measured; none of these portraits is among those that `training/glasses.csv` lists, and that\n"
        return text + "knows, by eye, only the test split of the Congress portraits.\n\n"
    labels = [group["label"] for group in result["groups"]]
    worn, least = found["wearers"], found["least"]
    text = (
        "Glasses: share that is left of the luma's gradients where rims, bridge and hinges run, eyes left out; 1: all\n"
    )
    text += "is there, 0.5: half the contrast, 0: gone. Who wears glasses was labelled by eye "
    text += "(`training/glasses.csv`).\nIn the others these edges are folds and lines, which age is meant to change. Least: "
    text += f"{_stem(least['file'])} to {labels[least['group']]}, {least['value']}.\n\n"
    rows = [[f"with glasses, {name}", worn["n"], *worn[name]] for name in ("median", "min")]
    if "others" in found:
        rows.append(["without, median", found["others"]["n"], *found["others"]["median"]])
    return text + table(["edges kept", "n", *labels], rows)


def _temporal_consistency(result: Json) -> str:
    if "temporal_consistency" not in result:
        return ""
    text, found = "## Steadiness\n\n", result["temporal_consistency"]
    if found is None:
        return text + "Not measured: none of these portraits is sharp (tier A).\n\n"
    labels = [result["groups"][i]["label"] for i in found["groups"]]
    text += f"Sharp stills of {found['n']} people, panned and zoomed smoothly through {found['frames']} frames each. Flicker: the "
    text += "change (aged - frame) brought\nback to the face, inside its oval, RMS over time about its mean over time, in levels of "
    text += "a byte; signal: RMS of that mean.\nDoing nothing has 0; a change that stands still on the face about 0.2, as bytes are "
    text += f"rounded. The frames themselves have {found['source']}.\n\n"
    text += "`exact`: the face's true landmarks, so what crop, network and paste do. `detected`: those that the bundled detector "
    text += "finds\nin each frame, as a camera's user sees it."
    if found["jitter"] is not None:
        text += f" They jitter by {found['jitter']} % of the eye distance (RMS)."
    missed = f"{found['missed']} of {found['n'] * found['frames']}"
    text += f" Frames in which no face was found, and\nwhich so stay as they are: {missed}.\n\n"
    rows = []
    for kind in ("exact", "detected"):
        one = found[kind]
        rows += [[f"{kind}: flicker", *one["flicker"]], [f"{kind}: signal", *one["signal"]]]
        rows.append([f"{kind}: flicker / signal", *(v if v is None else f"{100 * v:.1f} %" for v in one["ratio"])])
    return text + table(["aged to", *labels], rows)


def _kid(result: Json) -> str:
    text = "## KID\n\nNot Inception-KID: no Inception weights could be had, so the features are "
    text += (
        f"{', '.join(sorted({row['features'] for row in result['kid']})) or 'none'}'s (an age estimator's own),\nand "
    )
    text += "values compare only inside this table. Sharp pictures only, against sharp real faces of train and val of that age;\n"
    text += "95 % interval from half samples. `input`: the same people unaged. `real`: real faces against real faces. Few real\n"
    text += "faces, wide intervals: `-` means fewer than 8 on a side.\n\n"
    rows = []
    for row in result["kid"]:
        cells = [None if row.get(k) is None else "{} [{}, {}]".format(*row[k][:3]) for k in ("aged", "input", "real")]
        rows.append([row["group"], row["n_real"], *cells])
    return text + table(["aged to", "real faces", "aged", "input", "real"], rows)


def _precision_parity(result: Json) -> str:
    if "precision_parity" not in result:
        return ""
    text = (
        "## Fidelity\n\nResiduals on real faces against the ONNX file in ONNX Runtime; PSNR with peak 2, difference in "
    )
    text += "levels of a byte.\n"
    rows = []
    for row in result["precision_parity"]:
        if "error" in row:
            rows.append([row["name"], 0, "not run", row["error"]])
        else:
            rows.append([row["name"], row["faces"], "equal" if row["psnr"] is None else row["psnr"], row["max_levels"]])
    if len(rows) == 1:
        text += "PyTorch was not compared: no `--checkpoint`.\n"
    return text + "\n" + table(["against", "faces", "PSNR, dB", "largest difference"], rows)


def _failures(result: Json) -> str:
    labels = [group["label"] for group in result["groups"]]
    lists = dict(result["worst"])
    wrong = lists.pop("not_rising")
    text = "## Failures\n\n"
    for name, files in wrong.items():
        text += f"- age falls, or stays, as {name} reads it: {', '.join(map(_stem, files)) or 'nobody'}\n"
    for title, entries in lists.items():
        named = [
            f"{_stem(e['file'])}{'' if e['group'] is None else ' to ' + labels[e['group']]} {e['value']}"
            for e in entries
        ]
        text += f"- {title}: {'; '.join(named)}\n"
    return text


def _stem(file: str) -> str:
    return Path(file).stem


def _share(value: float) -> str:
    return f"{100 * value:.3g} %"


def _list(values: Sequence[float], between: str = ", ") -> str:
    return between.join(f"{value:g}" for value in values)


def draw_age(result: Json, path: Path) -> None:
    """Estimated over requested age, a panel an estimator: every person, and the mean."""
    from matplotlib.figure import Figure

    centers = [group["center"] for group in result["groups"]]
    figure = Figure(figsize=(5 * len(result["estimators"]), 5), layout="constrained")
    axes = figure.subplots(1, len(result["estimators"]), sharey=True, squeeze=False)[0]
    for ax, name in zip(axes, result["estimators"], strict=True):
        lines = np.array([person["estimates"][name] for person in result["people"]])
        ax.plot(centers, lines[:, 1:].T, color="0.75", lw=0.6)
        ax.plot(centers, lines[:, 1:].mean(0), "o-", color="C0", lw=2, label="aged, mean")
        ax.axhline(lines[:, 0].mean(), color="C1", ls="--", label="input, mean")
        ax.plot(centers, centers, color="k", lw=1, ls=":", label="as asked")
        slope = result["slices"]["all"]["age"][name]["slope"]
        ax.set(title=f"{name}: slope {slope}", xlabel="requested age, years", xticks=centers)
    axes[0].set_ylabel("estimated age, years")
    axes[0].legend()
    figure.savefig(path, dpi=110)


def draw_identity(result: Json, path: Path) -> None:
    """Cosines of real pairs and of aged pictures to their inputs."""
    from matplotlib.figure import Figure

    pairs = result["pairs"]
    bins = np.array(pairs["bins"])
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    ax = figure.subplots()
    for name in ("same", "different"):
        if name in pairs:
            counts = np.array(pairs[name]["histogram"])
            ax.stairs(counts / max(1, counts.sum()), bins, fill=True, alpha=0.4, label=f"real pairs: {name}")
    cosines = np.array([person["cosine"] for person in result["people"]])
    for i, group in enumerate(result["groups"]):
        counts = np.histogram(cosines[:, i], bins)[0]
        ax.stairs(counts / max(1, counts.sum()), bins, label=f"aged to {group['label']}", lw=1.5)
    ax.axvline(pairs["threshold_cosine"], color="k", ls=":", label="1 % false accepts")
    ax.set(xlabel=f"cosine ({pairs['embedder']})", ylabel="share", xlim=(0.75, 1.0))
    ax.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def choose(people: Sequence[Json], count: int = _SHEET_PEOPLE) -> list[int]:
    """Indices of people spread over age group, gender and skin tone: one of each kind in turn, sharp pictures first."""
    kinds: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i in sorted(range(len(people)), key=lambda i: (people[i]["tier"], people[i]["file"])):
        kinds[people[i]["tone"], people[i]["gender"], people[i]["group"]].append(i)
    rest = [kinds[kind] for kind in sorted(kinds)]
    chosen: list[int] = []
    while rest and len(chosen) < count:
        # Every n-th kind first, so that a round which is cut short still has all tones.
        step = max(1, -(-len(rest) // (count - len(chosen))))
        chosen += [kind.pop(0) for kind in rest[::step][: count - len(chosen)]]
        rest = [kind for kind in rest if kind]
    return sorted(chosen, key=lambda i: (people[i]["group"], people[i]["gender"], people[i]["file"]))


def write_sheet(result: Json, rows: Sequence[Row], ager: Ager, path: Path) -> None:
    """Contact sheet, two people a line: the input and three groups each. Portraits: never commit or publish it."""
    groups = [i for i in _SHEET_GROUPS if i < len(result["groups"])]
    years = [result["groups"][i]["center"] for i in groups]
    side, band, columns = _SHEET_SIDE, 14, 2
    index = choose(result["people"])
    across = len(groups) + 1
    sheet = Image.new("RGB", (columns * (across * side + 8), -(-len(index) // columns) * (side + band)), "white")
    draw = ImageDraw.Draw(sheet)
    for place, i in enumerate(index):
        row, person = rows[i], result["people"][i]
        x0, y0 = place % columns * (across * side + 8), place // columns * (side + band)
        frame = row.frame()
        for k, picture in enumerate([frame, *ager(frame, row.landmarks, years)]):
            small = Image.fromarray(picture).resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(small, (x0 + k * side, y0 + band))
            title = (
                f"{Path(row.file).stem} {row.gender} {row.age:.0f} {person['tone']}" if k == 0 else f"{years[k - 1]:g}"
            )
            draw.text((x0 + k * side + 3, y0 + 1), title, fill="black")
    sheet.save(path)
