"""The command line: `python -m proxyclip_core segment | evaluate | bench`, each with --help."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from proxyclip_core.evaluation import read_scenes, score_rows
from proxyclip_core.models.loading import default_models
from proxyclip_core.models.registry import VFM_MODELS, find_vfm
from proxyclip_core.models.weights import WeightsError, is_available
from proxyclip_core.pipeline import FUSIONS, ProxyCLIP, load
from proxyclip_core.settings import BACKGROUNDS, Settings
from proxyclip_core.words import TEMPLATES

SCENES = Path(__file__).parent.parent / "assets" / "examples" / "eval" / "scenes.json"
BENCHMARKS = Path(__file__).parent.parent / "tests" / "benchmarks"
DISTRACTORS = 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns the exit status. What the person can mend is said in words, without a traceback."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, WeightsError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m proxyclip_core", description="Open-vocabulary segmentation without training (ProxyCLIP)."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    segment = commands.add_parser("segment", help="segment one picture with your own words")
    segment.add_argument("picture", help="a picture file")
    segment.add_argument("words", nargs="?", help="classes, such as 'sky; cloud, hill, horse'")
    segment.add_argument("--settings", type=Path, help="settings that the page saved, in place of words and options")
    segment.add_argument("--out", type=Path, default=Path(), help="folder for the label map and its names (default: .)")
    segment.add_argument("--threshold", type=float, default=0.0, help="softmax score below which class 0 is taken")
    segment.add_argument("--background", choices=BACKGROUNDS, default="", help="what the background is")
    segment.add_argument("--fusion", choices=FUSIONS, default="proxy")
    segment.set_defaults(run=_segment)

    evaluate = commands.add_parser("evaluate", help="score a model where the truth is known")
    evaluate.add_argument("data", choices=("scenes",), help="'scenes': drawn scenes, the built-in models' own kind")
    evaluate.add_argument("--index", type=Path, default=SCENES, help="JSON list of pictures, label maps and words")
    evaluate.add_argument("--limit", type=int, help="only the first so many scenes")
    evaluate.add_argument("--seed", type=int, default=0, help="of the distractor words")
    evaluate.add_argument("--json", type=Path, help="file for the table")
    evaluate.set_defaults(run=_evaluate)

    for command in (segment, evaluate):
        command.add_argument("--clip", help="name of the CLIP (default: as the app opens with)")
        command.add_argument("--vfm", help="name of the VFM, such as 'DINO B/8'")
        command.add_argument("--patch", type=int, help="patch size, where the VFM is named by family")
        command.add_argument("--device", default="auto")
        command.add_argument("--precision", default="auto")
        command.add_argument("--templates", choices=TEMPLATES, default="imagenet80")
        command.add_argument("--beta", type=float, default=1.2, help="raising it masks more")
        command.add_argument("--gamma", type=float, default=3.0, help="raising it sharpens the attention")
        command.add_argument("--side", type=_side, default=336, help="short side in pixels, or 'as-is' (default: 336)")
        command.add_argument("--windows", choices=("sliding", "whole"), default="sliding")
    _add_bench(commands)
    return parser


def _add_bench(commands: argparse._SubParsersAction) -> None:
    bench = commands.add_parser("bench", help="measure time and memory against the plain method")
    bench.add_argument("--clip", help="CLIP of this size, with random weights (default: OpenAI B/16)")
    bench.add_argument("--vfm", help="VFM of this size, with random weights (default: DINO B/8)")
    bench.add_argument("--device", default="auto")
    bench.add_argument("--precision", default="auto")
    bench.add_argument("--rows", nargs="+", metavar="ROW", help="only these rows; a wrong name lists them all")
    bench.add_argument(
        "--repeats", type=_positive, default=3, help="timed runs at least, of which the best counts (default: 3)"
    )
    bench.add_argument("--growth", action="store_true", help="also how cost grows with picture, classes and windows")
    bench.add_argument("--json", type=Path, help="file for all numbers")
    bench.add_argument("--plot", type=Path, help="file for a plot of how cost grows")
    bench.set_defaults(run=_bench)


def _side(text: str) -> int | None:
    return None if text == "as-is" else int(text)


def _positive(text: str) -> int:
    if int(text) < 1:
        raise ValueError
    return int(text)


def _load(options: argparse.Namespace, **more) -> ProxyCLIP:
    return load(
        options.clip,
        options.vfm,
        patch=options.patch,
        device=options.device,
        precision=options.precision,
        templates=options.templates,
        **more,
    )


def _settings(options: argparse.Namespace) -> Settings:
    """From a file that the page saved, or from the command line."""
    if options.settings:
        if not options.settings.is_file():
            raise ValueError(f"There is no settings file at {options.settings}.")
        return Settings.from_json(options.settings.read_text(encoding="utf-8"))
    if options.words is None:
        raise ValueError("There are no words. Give them after the picture, such as 'sky; cloud, hill', or --settings.")
    clip, vfm = default_models(None if options.vfm else options.patch)
    return Settings(
        clip=options.clip or clip,
        vfm=find_vfm(options.vfm or vfm, options.patch).name,
        words=options.words,
        beta=options.beta,
        gamma=options.gamma,
        side=options.side,
        windows=options.windows,
        templates=options.templates,
        background=options.background,
        threshold=options.threshold,
    )


def _segment(options: argparse.Namespace) -> int:
    settings = _settings(options)
    model = load(
        settings.clip,
        settings.vfm if options.fusion == "proxy" or options.vfm else None,
        device=options.device,
        precision=options.precision,
        fusion=options.fusion,
        templates=settings.templates,
    )
    result = model(
        options.picture,
        settings.words,
        beta=settings.beta,
        gamma=settings.gamma,
        threshold=settings.threshold,
        background=settings.declared_background,
        side=settings.side,
        windows=settings.windows,
    )
    options.out.mkdir(parents=True, exist_ok=True)
    stem = options.out / Path(options.picture).stem
    labels_path, names_path = Path(f"{stem}_labels.png"), Path(f"{stem}_names.json")
    Image.fromarray(result.labels).save(labels_path)
    names_path.write_text(json.dumps(list(result.names), ensure_ascii=False, indent=1), encoding="utf-8")
    for name, share in sorted(result.coverage().items(), key=lambda pair: -pair[1]):
        print(f"{share:7.1%}  {name}")
    print(f"labels: {labels_path}  names: {names_path}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    if not options.index.is_file():
        raise ValueError(f"There are no scenes at {options.index}; give their JSON file with --index.")
    if options.json and not options.json.absolute().parent.is_dir():
        raise ValueError(f"There is no folder {options.json.absolute().parent} for the table.")
    every_scene = list(read_scenes(options.index))
    scenes = every_scene[: options.limit]
    model = _load(options)
    everything = {word for scene in every_scene for word in scene.words}
    others = min([DISTRACTORS, *(len(everything - set(scene.words)) for scene in scenes)])
    reading = {"beta": options.beta, "gamma": options.gamma, "side": options.side, "windows": options.windows}
    print(f"{len(scenes)} scenes, {model.clip.name}, {reading}, seed {options.seed}")
    print(f"{'':28}{'mIoU':>8}{f'+{others} words':>12}{'borders F':>12}")
    table: dict[str, dict[str, float]] = {}

    def add(rows: dict[str, str], model: ProxyCLIP) -> None:
        scores = score_rows(model, scenes, list(rows), (0, others), seed=options.seed, words_of=every_scene, **reading)
        for fusion, title in rows.items():
            plain, crowded = scores[fusion, 0], scores[fusion, others]
            table[title] = {"miou": plain.miou, "miou with others": crowded.miou, "border f": plain.border_f}
            print(f"{title:28}{plain.miou:8.1%}{crowded.miou:12.1%}{plain.border_f:12.1%}", flush=True)

    add(
        {"clip": "CLIP alone, own attention", "values": "CLIP alone, values", "proxy": f"proxy, {model.vfm.name}"},
        model,
    )
    for vfm in _siblings(model):
        options.vfm, options.patch = vfm, None
        add({"proxy": f"proxy, {vfm}"}, _load(options))
    if options.json:
        options.json.write_text(json.dumps({"scenes": len(scenes), "reading": reading, "rows": table}, indent=1))
    return 0


def _bench(options: argparse.Namespace) -> int:
    if not BENCHMARKS.is_dir():
        raise ValueError(
            "The benchmark measures against the plain method in tests/, which is not here. Run it in the repository."
        )
    from tests.benchmarks.bench import run  # not part of what a page or a script needs

    return run(options)


def _siblings(model: ProxyCLIP) -> list[str]:
    """The other patch sizes of the model's VFM that are at hand: to compare what they cost and give."""
    own = VFM_MODELS[model.vfm.name]
    others = [spec for spec in VFM_MODELS.values() if spec.family == own.family and spec != own]
    return [spec.name for spec in others if is_available(spec)]


if __name__ == "__main__":
    sys.exit(main())
