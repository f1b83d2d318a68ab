"""Make the built-in pair: drawings, scenes, training, weights, scores, gallery. One command:

    python assets/builtin/make.py --minutes 120 --device cpu

It goes on from its last checkpoint when started again. The clock counts training; fetching, painting the first
scenes and scoring come on top (some 15 minutes on two cores).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from card import write_card  # noqa: E402
from drawings import STYLES, load_drawings  # noqa: E402
from evaluate import table  # noqa: E402
from gallery import write_evaluation_scenes, write_gallery  # noqa: E402
from method import Towers  # noqa: E402
from names import CloseUps  # noqa: E402
from pools import ScenePool, training_bank  # noqa: E402
from scenes import Bank  # noqa: E402
from towers import save_halves  # noqa: E402
from train_clip import CONFIG, STAGES, ClipTrainer  # noqa: E402
from train_vfm import CONFIGS, VfmTrainer  # noqa: E402
from tune import Watch, balance, choose_reading  # noqa: E402

VFM_SHARES = {"vfm_patch8": 0.4, "vfm_patch4": 0.6}  # of the minutes


def export(state: dict[str, torch.Tensor], config: dict, out: Path, name: str) -> None:
    """Half-precision weights and their configuration."""
    save_halves(state, out / f"{name}.safetensors")
    (out / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")


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
        clip.start_from(Towers.read(start))
    clip.run()
    # the text tower is trained last, against the averaged vision tower: the model itself is what is kept
    export(clip.model.state_dict(), CONFIG, out, "clip")
    return {"clip": clip.log}


def train_vfms(work: Path, out: Path, start: Path | None, minutes: float, device: str, seed: int) -> dict[str, list]:
    """Train the VFMs one after the other, the finer from the coarser, and write their weights; -> their logs."""
    finished = Towers.read(start).vfms if start else {}
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
    folder = work / f"run-{seed}-{minutes:g}"
    if start:
        weights = b"".join(path.read_bytes() for path in sorted(start.glob("*.safetensors")))
        folder = work / f"{folder.name}-{hashlib.sha256(weights).hexdigest()[:8]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _share_cores(sharers: int) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // sharers))


def train(work: Path, out: Path, start: Path | None, minutes: float, device: str, seed: int) -> dict[str, list]:
    """CLIP and the VFMs learn side by side: they share nothing, and half the cores each is more than all in turn."""
    jobs = (train_clip, train_vfms)
    with ProcessPoolExecutor(len(jobs), get_context("spawn"), _share_cores, (len(jobs),)) as processes:
        running = [processes.submit(job, work, out, start, minutes, device, seed) for job in jobs]
        return {name: log for job in running for name, log in job.result().items()}


def write_log(run: dict, logs: dict[str, list], start: Path | None, out: Path) -> None:
    """log.json: every sitting's settings, and the towers' rows, whose minutes go on from those of the weights that
    training went on from."""
    before = json.loads((start / "log.json").read_text()) if start and (start / "log.json").exists() else {"runs": []}
    for tower in ("clip", *VFM_SHARES):
        rows = before.get(tower, [])
        past = Counter(rows[-1] if rows else {})
        for row in logs[tower]:
            row["minutes"] = round(row["minutes"] + past["minutes"], 1)
            if "steps" in row:
                row["steps"] += past["steps"]
        logs[tower] = rows + logs[tower]
    (out / "log.json").write_text(json.dumps({"runs": [*before["runs"], run]} | logs) + "\n")


def score(work: Path, out: Path, scenes: int) -> None:
    """Choose the reading on val, score every split with it, and write the figures and the card's tables."""
    reading, tried = choose_reading(out, work)
    print("reading", reading, flush=True)
    splits = table(out, work, scenes, reading, ("val", "test-near", "test-far"))
    scores = {"reading": asdict(reading), "scenes a split": scenes, "splits": splits, "tried on val": tried}
    if out == HERE:  # the app reads the weights of the repository only
        scores["app"] = score_app(work)
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


def score_app(work: Path) -> dict:
    """What the app's own code gets from the weights on the scenes in the repository; a test holds it to this."""
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
    subprocess.run(command, cwd=HERE.parents[1], check=True)
    return json.loads((work / "app.json").read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=120, help="training time")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--work", type=Path, default=Path.home() / ".cache/proxyclip-builtin", help="cache, checkpoints"
    )
    parser.add_argument("--out", type=Path, default=HERE, help="where weights and figures go")
    parser.add_argument("--examples", type=Path, help="where the gallery goes (default: examples/ beside --out)")
    parser.add_argument("--start", type=Path, help="a folder with finished weights to go on from")
    parser.add_argument("--scenes", type=int, default=50, help="scenes a split is scored on")
    parser.add_argument("--only", choices=("train", "score", "pictures"), help="one step alone")
    args = parser.parse_args()
    args.work, args.out = args.work.resolve(), args.out.resolve()
    if args.start is not None and not (args.start / "clip.safetensors").is_file():
        parser.error(f"--start {args.start} holds no clip.safetensors")
    if args.start is not None and args.start.resolve() == args.out:
        parser.error("--start and --out are the same folder; copy the weights to start from into another one")
    args.out.mkdir(parents=True, exist_ok=True)
    examples = args.examples or args.out.parent / "examples"
    if args.only in (None, "train"):
        load_drawings(args.work, list(STYLES))  # here, as both trainers would otherwise fetch them at once
        began = time.strftime("%Y-%m-%d")
        logs = train(args.work, args.out, args.start, args.minutes, args.device, args.seed)
        logs["balance"] = balance(args.out, args.work, args.start)
        run = {"date": began, "minutes": args.minutes, "device": args.device, "seed": args.seed}
        write_log(run, logs, args.start, args.out)
    if args.only in (None, "pictures"):
        write_gallery(args.work, examples)
        write_evaluation_scenes(args.work, examples / "eval")
    if args.only in (None, "score"):
        score(args.work, args.out, args.scenes)
    write_card(args.out)


if __name__ == "__main__":
    main()
