"""Make the built-in pair: drawings, scenes, training, weights, scores, gallery. One command from the repository's root:

    python -m assets.builtin.recipe --minutes 120 --device cpu

It goes on from its last checkpoint when started again. The clock counts training; fetching, painting the first
scenes and scoring come on top.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from assets.builtin.recipe.canvas import Bank
from assets.builtin.recipe.close_ups import CloseUps
from assets.builtin.recipe.drawings import STYLES, load_drawings, load_things
from assets.builtin.recipe.gallery import write_evaluation_scenes, write_gallery
from assets.builtin.recipe.model_card import write_card
from assets.builtin.recipe.pools import ScenePool, class_words, training_bank
from assets.builtin.recipe.scoring import (
    PAPER,
    SEEDS,
    close_up_accuracy,
    distractors_for,
    pair,
    refinements,
    split_bank,
    split_scenes,
    table,
)
from assets.builtin.recipe.train_clip import CONFIG, STAGES, ClipTrainer
from assets.builtin.recipe.train_vfm import CONFIGS, VfmTrainer
from assets.builtin.recipe.tune import Watch, balance, choose_settings
from assets.builtin.recipe.weights import VFMS, digest, export, read_networks
from proxyclip_core.evaluation import read_scenes
from proxyclip_core.models.registry import BUILTIN_FOLDER

CARD_FOLDER = Path(__file__).parents[1]
ROOT = CARD_FOLDER.parents[1]
VFM_SHARES = dict(zip(VFMS, (0.4, 0.6)))  # of the minutes


def new_pool(bank: Bank, minutes: float, side: int, seed: int) -> ScenePool:
    pool = ScenePool(bank, int(2400 * min(1.0, minutes / 60)), side, None, seed)  # a short run paints fewer
    pool.renew()
    return pool


def train_clip(work: Path, out: Path, start: Path | None, minutes: float, device: str, seed: int) -> dict[str, list]:
    """Train CLIP and write its weights; -> its log."""
    bank, run = training_bank(work, seed), run_folder(work, start, minutes, seed)
    pool, close_ups = new_pool(bank, minutes, 280, seed + 2), CloseUps(bank, seed + 1)
    seconds = 60 * minutes / (1 - STAGES["names"] if start else 1)  # finished weights know the names
    clip = ClipTrainer(pool, close_ups, seconds, device, seed, run, Watch(work))
    if not clip.resume() and start:
        clip.start_from(read_networks(start)["clip"])
    clip.run()
    # the text tower is trained last, against the averaged vision tower: the model itself is what is kept
    export(clip.model.state_dict(), CONFIG, out, "clip")
    words = sorted({word for group in class_words(load_things()).values() for word in group})
    (out / "words.txt").write_text("".join(f"{word}\n" for word in words))
    return {"clip": clip.log}


def train_vfms(work: Path, out: Path, start: Path | None, minutes: float, device: str, seed: int) -> dict[str, list]:
    """Train the VFMs one after the other, the finer from the coarser, and write their weights; -> their logs."""
    finished = read_networks(start) if start else {}
    bank, run = training_bank(work, seed), run_folder(work, start, minutes, seed)
    pool, logs, coarser = new_pool(bank, minutes, 336, seed + 3), {}, None
    for name, share in VFM_SHARES.items():
        vfm = VfmTrainer(name, pool, 60 * minutes * share, device, seed, run)
        if not vfm.resume():
            if name in finished:
                vfm.go_on_from(finished[name])
            elif coarser is not None:
                vfm.start_from(coarser)
        vfm.run()
        coarser, logs[name] = vfm.average, vfm.log
        export(vfm.average.state_dict(), CONFIGS[name], out, name)
    return logs


def run_folder(work: Path, start: Path | None, minutes: float, seed: int) -> Path:
    """Where the checkpoints of one run lie. The weights that it started from are a part of its name."""
    folder = work / "-".join(["run", str(seed), f"{minutes:g}", *([digest(start)] if start else [])])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _share_cores(sharers: int) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // sharers))


def train(work: Path, out: Path, start: Path | None, minutes: float, device: str, seed: int) -> dict[str, list]:
    """CLIP and the VFMs are trained side by side: they share nothing, and half the cores each is more than all in
    turn."""
    jobs = (train_clip, train_vfms)
    with ProcessPoolExecutor(len(jobs), get_context("spawn"), _share_cores, (len(jobs),)) as processes:
        running = [processes.submit(job, work, out, start, minutes, device, seed) for job in jobs]
        return {name: log for job in running for name, log in job.result().items()}


def write_log(run: dict, logs: dict[str, list], start: Path | None, figures: Path) -> None:
    """log.json: the settings of every run, and the networks' rows, whose minutes go on from those of the weights that
    training went on from."""
    before = json.loads((start / "log.json").read_text()) if start and (start / "log.json").exists() else {"runs": []}
    for network in ("clip", *VFMS):
        rows = before.get(network, [])
        past = Counter(rows[-1] if rows else {})
        for row in logs[network]:
            row["minutes"] = round(row["minutes"] + past["minutes"], 1)
            if "steps" in row:
                row["steps"] += past["steps"]
        logs[network] = rows + logs[network]
    (figures / "log.json").write_text(json.dumps({"runs": [*before["runs"], run]} | logs) + "\n")


def score(work: Path, weights: Path, figures: Path, scenes: int) -> None:
    """Choose settings on val, score every split with them and with the paper's, and write scores.json; all in 0..1."""
    networks, drawn = read_networks(weights), {split: split_bank(work, split) for split in SEEDS}
    labelled = {split: split_scenes(bank, split, scenes) for split, bank in drawn.items()}
    tuned, tried = choose_settings(networks, labelled["val"][:21])
    print("tuned", tuned, flush=True)
    splits = {}
    for split, bank in drawn.items():
        splits[split] = {
            "paper": table(networks, labelled[split], PAPER),
            "tuned": table(networks, labelled[split], tuned),
            "other words": distractors_for(labelled[split]),
            "close-ups, 1 of 5": close_up_accuracy(pair(networks["clip"]), bank, split),
        }
        print(split, splits[split], flush=True)
    near, ways = list(read_scenes(ROOT / "assets" / "examples" / "eval" / "scenes.json")), [PAPER, tuned]
    refined = refinements(networks, labelled["val"], "val", ways)
    refined += refinements(networks, near, "near, the repository's", ways)
    refined += refinements(networks, labelled["test-far"], "far", ways)
    scores = {"refined": refined, "tuned": tuned, "scenes a split": scenes, "splits": splits, "tried on val": tried}
    if weights == BUILTIN_FOLDER:  # those that the command line knows
        scores["app"] = {
            settings: score_command_line(work, of) for settings, of in (("paper", PAPER), ("tuned", tuned))
        }
    (figures / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


def score_command_line(work: Path, settings: dict[str, Any]) -> dict:
    """What the command line gets from the weights on the scenes in the repository; a test holds it to this."""
    command = [
        sys.executable,
        "-m",
        "proxyclip_core",
        "evaluate",
        "scenes",
        "--clip",
        "Built-in",
        "--vfm",
        "Built-in/8",
    ]
    command += ["--device", "cpu", "--precision", "float32", "--templates", "simple7", "--json", str(work / "app.json")]
    command += [f"--{name}={value}" for name, value in settings.items()]
    subprocess.run(command, cwd=ROOT, check=True)
    record = json.loads((work / "app.json").read_text())
    return {key: record[key] for key in ("scenes", "settings", "computed_with", "rows")}


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m assets.builtin.recipe",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--minutes", type=float, default=120, help="training time")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, default=Path.home() / ".cache/proxyclip-builtin", help="cache, checkpoints"
    )
    parser.add_argument(
        "--out",
        type=Path,
        help="one folder for weights and figures (default: the weights go where the library reads them, in "
        "proxyclip_core/models/builtin/, and the figures beside the model card, in assets/builtin/)",
    )
    parser.add_argument("--examples", type=Path, help="where the gallery goes (default: examples/ beside the figures)")
    parser.add_argument("--start", type=Path, help="a folder with finished weights to go on from")
    parser.add_argument("--scenes", type=int, default=50, help="scenes a split is scored on")
    parser.add_argument("--only", choices=("train", "score", "pictures"), help="one step alone")
    options = parser.parse_args()
    if options.start is not None and not (options.start / "clip.safetensors").is_file():
        parser.error(f"--start {options.start} holds no clip.safetensors")
    if options.start is not None and options.start.resolve() == (options.out or BUILTIN_FOLDER).resolve():
        parser.error("--start is the folder that the weights go to; copy the weights to start from into another one")
    return options


def main() -> None:
    """Runs the steps that the command line asks for."""
    options = _options()
    work = options.work.resolve()
    weights, figures = (options.out or default for default in (BUILTIN_FOLDER, CARD_FOLDER))
    weights.mkdir(parents=True, exist_ok=True)
    examples = options.examples or figures.resolve().parent / "examples"
    if options.only in (None, "train"):
        load_drawings(work, list(STYLES))  # here, as both trainers would otherwise fetch them at once
        began = time.strftime("%Y-%m-%d")
        logs = train(work, weights, options.start, options.minutes, options.device, options.seed)
        logs["balance"] = balance(weights, work, options.start)
        run = {"date": began, "minutes": options.minutes, "device": options.device, "seed": options.seed}
        write_log(run, logs, options.start, figures)
    if options.only in (None, "pictures"):
        write_gallery(work, examples)
        write_evaluation_scenes(work, examples / "eval")
    if options.only in (None, "score"):
        score(work, weights, figures, options.scenes)
    write_card(figures)
