"""The gallery's pictures: scenes composed by hand from the drawings, with their label maps and words."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image

from assets.builtin.recipe.canvas import Bank, Canvas, Scene
from assets.builtin.recipe.drawings import STYLES, load_drawings, load_things
from assets.builtin.recipe.scoring import SEEDS, split_bank, split_scenes
from assets.builtin.recipe.stuff import cloud_shape
from proxyclip_core.evaluation import UNLABELLED

SIZE_HW = (384, 512)
# Layers are painted back to front. ('stuff', name, top): down from `top`, a share of the height; ('hills', name, top,
# roughness): with a rolling outline; ('pond', x, y, width, height); ('cloud', x, y, width); the rest are things:
# (name, x, foot, size, which of its drawings), in shares of width, height and height; a minus size mirrors it.
Layer = tuple
GALLERY: dict[str, dict] = {
    "meadow": {
        "title": "By the lake", "style": "fluent-3d", "sky": "day", "seed": 3,
        "layers": [
            ("stuff", "sky", 0.0), ("sun", 0.86, 0.2, 0.16), ("cloud", 0.3, 0.17, 0.26),
            ("cloud", 0.62, 0.12, 0.18),
            ("hills", "mountain", 0.36, 0.12), ("hills", "forest", 0.43, 0.015), ("hills", "grass", 0.5, 0.02),
            ("pond", 0.7, 0.68, 0.46, 0.15), ("tree", 0.1, 0.62, 0.34), ("house", 0.3, 0.6, 0.24),
            ("duck", 0.68, 0.69, 0.11), ("cow", 0.24, 0.83, 0.23, 1), ("horse", 0.47, 0.78, 0.25, 1),
            ("dog", 0.62, 0.95, 0.2, 1),
            ("sheep", 0.87, 0.93, -0.2), ("tulip", 0.06, 0.95, 0.15),
        ],
    },
    "beach": {
        "title": "A day at the sea", "style": "noto", "sky": "day", "seed": 5,
        "layers": [
            ("stuff", "sky", 0.0), ("cloud", 0.2, 0.2, 0.3), ("cloud", 0.72, 0.13, 0.2), ("bird", 0.5, 0.22, 0.11),
            ("stuff", "sea", 0.34), ("sailboat", 0.24, 0.5, 0.24), ("dolphin", 0.55, 0.54, 0.16),
            ("ship", 0.78, 0.42, 0.13, 1), ("hills", "sand", 0.62, 0.015), ("palm tree", 0.9, 0.82, 0.48),
            ("beach umbrella", 0.3, 0.85, 0.3), ("crab", 0.52, 0.9, 0.14), ("seashell", 0.12, 0.94, 0.11),
            ("volleyball", 0.68, 0.95, 0.12),
        ],
    },
    "street": {
        "title": "Going to town", "style": "fluent-flat", "sky": "day", "seed": 8,
        "layers": [
            ("stuff", "sky", 0.0), ("cloud", 0.5, 0.16, 0.24), ("stuff", "brick wall", 0.3),
            ("tree", 0.1, 0.7, 0.48),
            ("shop", 0.36, 0.7, 0.42), ("school", 0.7, 0.7, 0.44), ("stuff", "road", 0.68), ("bus", 0.2, 0.9, 0.24),
            ("car", 0.6, 0.84, 0.19), ("bicycle", 0.88, 0.94, 0.2), ("traffic light", 0.93, 0.7, 0.3),
            ("taxi", 0.48, 0.98, 0.2), ("police officer", 0.7, 0.98, 0.18),
        ],
    },
    "farm": {
        "title": "The farm", "style": "noto", "sky": "day", "seed": 12,
        "layers": [
            ("stuff", "sky", 0.0), ("cloud", 0.66, 0.15, 0.26), ("rainbow", 0.25, 0.34, 0.3),
            ("hills", "forest", 0.34, 0.02),
            ("hills", "field", 0.42, 0.02), ("house", 0.8, 0.56, 0.24), ("tractor", 0.3, 0.62, 0.24),
            ("hills", "grass", 0.7, 0.03), ("pig", 0.14, 0.88, 0.2, 1), ("rooster", 0.38, 0.9, 0.2),
            ("sunflower", 0.93, 0.9, 0.28), ("goat", 0.6, 0.86, 0.22), ("chick", 0.5, 0.97, 0.1),
            ("jack-o-lantern", 0.76, 0.97, 0.14),
        ],
    },
    "winter": {
        "title": "First snow", "style": "fluent-3d", "sky": "day", "seed": 14,
        "layers": [
            ("stuff", "sky", 0.0), ("cloud", 0.75, 0.15, 0.28), ("hills", "mountain", 0.3, 0.16),
            ("hills", "forest", 0.44, 0.02),
            ("hills", "snow", 0.52, 0.04), ("pine tree", 0.1, 0.76, 0.42), ("pine tree", 0.24, 0.66, 0.28),
            ("house", 0.82, 0.68, 0.28), ("snowman", 0.42, 0.9, 0.3), ("sled", 0.66, 0.92, 0.18),
            ("penguin", 0.88, 0.95, 0.2),
            ("deer", 0.58, 0.68, 0.2),
        ],
    },
    "room": {
        "title": "At home", "style": "fluent-3d", "sky": "day", "seed": 21,
        "layers": [
            ("stuff", "brick wall", 0.0), ("stuff", "wooden floor", 0.56), ("window", 0.2, 0.36, 0.28),
            ("picture frame", 0.52, 0.3, 0.22), ("sofa", 0.5, 0.72, 0.36), ("potted plant", 0.12, 0.74, 0.3),
            ("television", 0.86, 0.66, 0.3), ("guitar", 0.76, 0.94, 0.3), ("cat", 0.28, 0.93, 0.24, 1),
            ("teddy bear", 0.52, 0.94, 0.2), ("books", 0.1, 0.95, 0.14),
        ],
    },
    "camp": {
        "title": "Camping under the stars", "style": "noto", "sky": "night", "seed": 25,
        "layers": [
            ("stuff", "sky", 0.0), ("moon", 0.82, 0.22, 0.17), ("hills", "mountain", 0.3, 0.12),
            ("hills", "forest", 0.4, 0.02),
            ("hills", "grass", 0.54, 0.03), ("tent", 0.28, 0.82, 0.38), ("fire", 0.56, 0.88, 0.2),
            ("log", 0.62, 0.97, 0.12),
            ("rabbit", 0.8, 0.9, 0.2, 1), ("owl", 0.48, 0.58, 0.13), ("backpack", 0.08, 0.93, 0.18),
            ("guitar", 0.4, 0.96, 0.2),
        ],
    },
    "desert": {
        "title": "Desert evening", "style": "fluent-flat", "sky": "dusk", "seed": 31,
        "layers": [
            ("stuff", "sky", 0.0), ("sun", 0.5, 0.4, 0.2), ("hills", "mountain", 0.34, 0.1),
            ("hills", "sand", 0.46, 0.03),
            ("cactus", 0.12, 0.78, 0.36), ("cactus", 0.88, 0.66, 0.24), ("camel", 0.36, 0.74, 0.28, 1),
            ("camel", 0.6, 0.68, -0.2, 0),
            ("lizard", 0.7, 0.92, 0.18), ("scorpion", 0.3, 0.95, 0.14), ("snake", 0.9, 0.93, 0.17),
        ],
    },
    "reef": {
        "title": "Under the sea", "style": "fluent-3d", "sky": "day", "seed": 35,
        "layers": [
            ("stuff", "sea", 0.0), ("shark", 0.22, 0.36, 0.26), ("whale", 0.7, 0.34, -0.28),
            ("tropical fish", 0.45, 0.5, 0.15),
            ("jellyfish", 0.9, 0.58, 0.2), ("hills", "sand", 0.78, 0.03), ("octopus", 0.62, 0.84, 0.24),
            ("turtle", 0.26, 0.74, 0.2), ("coral", 0.1, 0.9, 0.2), ("crab", 0.4, 0.95, 0.14),
            ("seashell", 0.86, 0.94, 0.12),
        ],
    },
    "table": {
        "title": "Lunch is ready", "style": "noto", "sky": "day", "seed": 41,
        "layers": [
            ("stuff", "brick wall", 0.0), ("stuff", "wooden floor", 0.42), ("birthday cake", 0.5, 0.6, 0.28),
            ("pizza", 0.18, 0.72, 0.26), ("hamburger", 0.78, 0.72, 0.22), ("french fries", 0.93, 0.9, 0.2),
            ("coffee", 0.36, 0.92, 0.2), ("apple", 0.6, 0.84, 0.16), ("banana", 0.1, 0.95, 0.18),
            ("donut", 0.74, 0.95, 0.16),
            ("strawberry", 0.5, 0.96, 0.11),
        ],
    },
}  # fmt: skip


def compose(entry: dict, bank: Bank) -> Scene:
    """One gallery scene from its layers."""
    rng = np.random.default_rng(entry["seed"])
    height, width = SIZE_HW
    canvas = Canvas(rng, height, width)
    for layer in entry["layers"]:
        kind = layer[0]
        if kind == "stuff":
            options = {"hour": entry["sky"]} if layer[1] == "sky" else {}
            canvas.stuff(layer[1], canvas.below(layer[2] * height), **options)
        elif kind == "hills":
            canvas.stuff(layer[1], canvas.below(layer[2] * height, layer[3], 0.06 if layer[1] == "forest" else 0.25))
        elif kind == "pond":
            y, x = np.mgrid[0:height, 0:width]
            inside = ((x / width - layer[1]) / (layer[3] / 2)) ** 2 + (
                (y / height - layer[2]) / (layer[4] / 2)
            ) ** 2 < 1
            canvas.stuff("lake", inside)
        elif kind == "cloud":
            wide = int(layer[3] * width)
            shape = cloud_shape(rng, int(wide * 0.45), wide)
            mask = np.zeros((height, width), bool)
            top, left = int(layer[2] * height - len(shape) / 2), int(layer[1] * width - wide / 2)
            part = mask[max(top, 0) : top + len(shape), max(left, 0) : left + wide]
            part |= shape[max(-top, 0) :, max(-left, 0) :][: part.shape[0], : part.shape[1]]
            canvas.stuff("cloud", mask)
        else:
            name, x, foot, size, *which = layer
            rgba = bank.looks[name][which[0] if which else 0]
            in_air = bank.things[name].place == "sky" or entry["layers"][0][1] == "sea"
            look = rgba[:, ::-1] if size < 0 else rgba
            if not canvas.thing(name, look, (x * width, foot * height), abs(size), shadow=not in_air):
                raise ValueError(f"{entry['title']}: {name} hides too much of something or leaves the picture; move it")
    return canvas.finish(light=0.0, name=entry["title"])


def save_scene(scene: Scene, folder: Path, name: str) -> None:
    """NAME.png and NAME_labels.png: a palette picture of indices into the words, UNLABELLED where nothing is named."""
    Image.fromarray(scene.picture).save(folder / f"{name}.png", optimize=True)
    indexed = Image.fromarray(scene.labels, "P")
    palette = np.random.default_rng(0).integers(40, 256, (256, 3), dtype=np.uint8)
    palette[UNLABELLED] = 0
    indexed.putpalette(palette.tobytes())
    indexed.save(folder / f"{name}_labels.png", optimize=True)


def write_gallery(work: Path, folder: Path) -> None:
    """Every gallery scene, and examples.json that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, entry in GALLERY.items():
        style = STYLES[entry["style"]]
        bank = Bank(load_drawings(work, [entry["style"]], 256), load_things())
        scene = compose(entry, bank)
        save_scene(scene, folder, name)
        credit = f"drawings: {entry['style']} by {style.credit}, {style.licence}"
        rows.append(
            {
                "file": f"{name}.png",
                "labels": f"{name}_labels.png",
                "title": entry["title"],
                "words": scene.names,
                "text": ", ".join(scene.names),
                "licence": credit,
            }
        )
    (folder / "examples.json").write_text(json.dumps(rows, indent=1) + "\n")


def write_evaluation_scenes(work: Path, folder: Path, split: str = "test-near", count: int = 50) -> None:
    """The first scenes of a split, and scenes.json with their words: what `python -m proxyclip_core evaluate` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, scene in enumerate(split_scenes(split_bank(work, split), split, count)):
        save_scene(scene, folder, f"{i:02d}")
        rows.append({"file": f"{i:02d}.png", "labels": f"{i:02d}_labels.png", "words": scene.names})
    (folder / "scenes.json").write_text(json.dumps(rows, indent=0) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write scenes of a split, with their label maps, into a folder.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="where the drawings lie, or are fetched to with npm")
    parser.add_argument("--split", choices=SEEDS, default="test-far")
    parser.add_argument("--count", type=int, default=50)
    options = parser.parse_args()
    write_evaluation_scenes(options.work, options.folder, options.split, options.count)
