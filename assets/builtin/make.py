"""Make the built-in pair: drawings, scenes, training, weights, scores, gallery. One command:

    python assets/builtin/make.py --minutes 120 --device cpu

It goes on from its last checkpoint when started again. The clock counts training; fetching, painting the first
scenes and scoring come on top (some 15 minutes on two cores).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import torch

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

from card import write_card  # noqa: E402
from drawings import STYLES, load_drawings  # noqa: E402
from evaluate import table  # noqa: E402
from gallery import write_evaluation_scenes, write_gallery  # noqa: E402
from names import CloseUps  # noqa: E402
from pools import ScenePool, training_bank  # noqa: E402
from safetensors.torch import save_file  # noqa: E402
from train_clip import CONFIG, ClipTrainer  # noqa: E402
from train_vfm import CONFIGS, VfmTrainer  # noqa: E402
from tune import choose_reading  # noqa: E402

SHARES = {"vfm_patch8": 0.15, "vfm_patch4": 0.15, "clip": 0.7}  # of the minutes


def export(state: dict[str, torch.Tensor], config: dict, out: Path, name: str) -> None:
    """Half-precision weights and their configuration."""
    halves = {key: value.detach().cpu().half().contiguous() for key, value in state.items()}
    save_file(halves, out / f"{name}.safetensors")
    (out / f"{name}.safetensors").chmod(0o644)
    (out / f"{name}.json").write_text(json.dumps(config, indent=2) + "\n")


def train(work: Path, out: Path, minutes: float, device: str, seed: int) -> dict[str, list]:
    """Train the three towers and write their weights; -> the logs."""
    run = work / f"run-{seed}-{minutes:g}"
    run.mkdir(parents=True, exist_ok=True)
    bank = training_bank(work, seed)
    pool = ScenePool(bank, int(2400 * min(1.0, minutes / 60)), 280, None, seed + 2)  # a short run paints fewer
    pool.renew()
    print("scenes painted", flush=True)
    logs, coarser = {}, None
    for name in ("vfm_patch8", "vfm_patch4"):
        vfm = VfmTrainer(name, pool, 60 * minutes * SHARES[name], device, seed, run)
        if not vfm.resume() and coarser is not None:
            vfm.start_from(coarser)
        vfm.run()
        coarser, logs[name] = vfm.average, vfm.log
        export(vfm.average.state_dict(), CONFIGS[name], out, name)
    clip = ClipTrainer(pool, CloseUps(bank, seed + 1), 60 * minutes * SHARES["clip"], device, seed, run)
    clip.resume()
    clip.run()
    # the text tower is trained last, against the averaged vision tower: the model itself is what is kept
    export(clip.model.state_dict(), CONFIG, out, "clip")
    return logs | {"clip": clip.log}


def score(work: Path, out: Path, scenes: int) -> None:
    """Choose the reading on val, score every split with it, and write the figures and the card's tables."""
    reading, tried = choose_reading(out, work)
    print("reading", reading, flush=True)
    splits = table(out, work, scenes, reading, ("val", "test-near", "test-far"))
    scores = {"reading": asdict(reading), "scenes a split": scenes, "splits": splits, "tried on val": tried}
    (out / "scores.json").write_text(json.dumps(scores, indent=1) + "\n")


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
    parser.add_argument("--scenes", type=int, default=100, help="scenes a split is scored on")
    parser.add_argument("--only", choices=("train", "score", "pictures"), help="one step alone")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    examples = args.examples or args.out.parent / "examples"
    load_drawings(args.work, list(STYLES))
    if args.only in (None, "train"):
        began = time.strftime("%Y-%m-%d")
        logs = train(args.work, args.out, args.minutes, args.device, args.seed)
        run = {"date": began, "minutes": args.minutes, "device": args.device, "seed": args.seed, "shares": SHARES}
        (args.out / "log.json").write_text(json.dumps({"run": run} | logs) + "\n")
    if args.only in (None, "pictures"):
        write_gallery(args.work, examples)
        write_evaluation_scenes(args.work, examples / "eval")
    if args.only in (None, "score"):
        score(args.work, args.out, args.scenes)
    write_card(args.out)


if __name__ == "__main__":
    main()
