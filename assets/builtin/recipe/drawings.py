"""The drawings of EmojiScenes: fetch the packages, read the word list, rasterise every style once.

A drawing is an RGBA picture, cropped to its alpha, longer side `size` px, kept straight (not premultiplied).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
from dataclasses import dataclass
from multiprocessing import Pool
from pathlib import Path

import numpy as np
from PIL import Image

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Style:
    """One artist's set of drawings."""

    package: str  # npm name with its version
    licence: str
    credit: str
    split: str  # 'train', 'test-near' or 'test-far': a test style is never trained on
    in_repository: bool  # may pictures made of it lie in the repository?
    bare: bool = False  # shapes or lines of one colour, to be coloured in; for training only
    kin: str = ""  # the style that has the same shapes: what is held out there is held out here


STYLES: dict[str, Style] = {
    "noto": Style("@iconify-json/noto@1.2.9", "Apache-2.0", "Google", "train", True),
    "noto-v1": Style("@iconify-json/noto-v1@1.2.5", "Apache-2.0", "Google", "train", True),
    "fluent-flat": Style("@iconify-json/fluent-emoji-flat@1.2.6", "MIT", "Microsoft", "train", True),
    "fluent-3d": Style("@lobehub/fluent-emoji-3d@1.1.0", "MIT", "Microsoft, LobeHub", "train", True),
    "fxemoji": Style("@iconify-json/fxemoji@1.2.2", "Apache-2.0", "Mozilla", "train", True),
    "emojione": Style("@iconify-json/emojione@1.2.3", "CC-BY-4.0", "Emoji One", "train", True),
    "streamline": Style("@iconify-json/streamline-emojis@1.2.4", "CC-BY-4.0", "Streamline", "train", True),
    "game-icons": Style("@iconify-json/game-icons@1.2.4", "CC-BY-3.0", "game-icons.net", "train", True, bare=True),
    "mdi": Style("@iconify-json/mdi@1.2.3", "Apache-2.0", "Pictogrammers", "train", True, bare=True),
    "icon-park": Style("@iconify-json/icon-park@1.2.4", "Apache-2.0", "ByteDance", "train", True, bare=True),
    "phosphor": Style("@iconify-json/ph@1.2.2", "MIT", "Phosphor Icons", "train", True, bare=True),
    "font-awesome": Style("@iconify-json/fa6-solid@1.2.4", "CC-BY-4.0", "Fonticons", "train", True, bare=True),
    "lucide": Style("@iconify-json/lucide@1.2.137", "ISC", "Lucide Contributors", "train", True, bare=True),
    "tabler": Style("@iconify-json/tabler@1.2.41", "MIT", "Paweł Kuna", "train", True, bare=True),
    "hugeicons": Style("@iconify-json/hugeicons@1.2.35", "MIT", "Hugeicons", "train", True, bare=True),
    "emojione-bare": Style(
        "@iconify-json/emojione-monotone@1.2.1", "CC-BY-4.0", "Emoji One", "train", True, True, "emojione"
    ),
    "fluent-bare": Style(
        "@iconify-json/fluent-emoji-high-contrast@1.2.6", "MIT", "Microsoft", "train", True, True, "fluent-flat"
    ),
    "twemoji": Style("@iconify-json/twemoji@1.2.5", "CC-BY-4.0", "Twitter", "test-near", True),
    # share-alike: fetched for testing, nothing of it is kept
    "openmoji": Style("@iconify-json/openmoji@1.2.29", "CC-BY-SA-4.0", "OpenMoji", "test-far", False),
}
# icons that follow no emoji: found by name alone
ICONS = {name for name, style in STYLES.items() if style.bare and not style.kin}
NAMES_PACKAGE = "emojibase-data@16.0.3"
VAL_SHARE = 0.08  # share of the seen styles' drawings that are kept from training, for choosing settings
# words that mean something else in sets without code points
AMBIGUOUS = {
    "bow",
    "torch",
    "spade",
    "cup",
    "chips",
    "home",
    "box",
    "chain",
    "letter",
    "slide",
    "tower",
    "football",
    "turkey",
}
AMBIGUOUS_ICONS = AMBIGUOUS | {"mouse", "seal", "cricket"}  # a computer's, a stamp, a sport


@dataclass(frozen=True)
class Thing:
    """One class of things: what it is called, which drawings show it, where it stands."""

    name: str
    words: tuple[str, ...]  # the name first, then synonyms
    labels: tuple[str, ...]  # Unicode short names of its drawings, lower case
    place: str  # ground, sky, water, indoor
    size: str  # small, medium, large


@dataclass
class Drawing:
    """One picture of one thing in one style."""

    thing: str
    style: str
    label: str
    rgba: np.ndarray  # H x W x 4 uint8

    @property
    def held_out(self) -> bool:
        """Is this drawing kept from training, for validation?"""
        digest = hashlib.sha1(f"{STYLES[self.style].kin or self.style}/{self.label}".encode()).digest()
        return int.from_bytes(digest[:4], "big") / 2**32 < VAL_SHARE


def load_things(path: Path = HERE / "words.txt") -> list[Thing]:
    """Read the word list; its grammar stands on the file's first lines."""
    things, place, size = [], "", ""
    for line in path.read_text().splitlines():
        line = line.strip()
        if line.startswith("["):
            place, size = line.strip("[]").split()
        elif line and not line.startswith("#"):
            names, _, labels = line.partition("=")
            words = tuple(word.strip() for word in names.split(","))
            drawn = tuple(label.strip().lower() for label in labels.split(";") if label.strip()) or words[:1]
            things.append(Thing(words[0], words, drawn, place, size))
    return things


def install(work: Path, styles: list[str]) -> Path:
    """Fetch the packages of these styles with npm into `work`; returns node_modules. Nothing is fetched twice."""
    work.mkdir(parents=True, exist_ok=True)
    modules = work / "node_modules"
    wanted = [STYLES[style].package for style in styles] + [NAMES_PACKAGE]
    if not all((modules / name.rpartition("@")[0]).is_dir() for name in wanted):
        if not (work / "package.json").exists():
            (work / "package.json").write_text('{"name": "emojiscenes", "private": true}\n')
        subprocess.run(
            ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error", *wanted],
            cwd=work,
            check=True,
        )
    return modules


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower().replace("’", "")).strip("-")


def _svg_sources(
    folder: Path, wanted: list[tuple[str, str, str, tuple[str, ...]]], follows_no_emoji: bool
) -> list[tuple[str, str, str]]:
    """-> (thing, label, svg) of an iconify package; `wanted` rows are (thing, label, code point, synonyms).

    follows_no_emoji: the set is found by name alone, and its aliases, which often mean another thing, are not followed.
    """
    data = json.loads((folder / "icons.json").read_text())
    by_code = {} if follows_no_emoji else json.loads((folder / "chars.json").read_text())
    icons, aliases = data["icons"], {} if follows_no_emoji else data.get("aliases", {})
    squashed = {name.replace("-", ""): name for name in icons}
    ambiguous = AMBIGUOUS_ICONS if follows_no_emoji else AMBIGUOUS
    found, seen = [], set()
    for thing, label, code, synonyms in wanted:
        slug = _slug(label)
        names = [by_code.get(code.lower()), by_code.get(code.lower().removesuffix("-fe0f")), slug]
        if not by_code:  # no code points: names only, some numbered (bird-1, bird-2), some for the whole body (dogside)
            more = [_slug(word) for word in (label, *synonyms) if word not in ambiguous]
            names = [
                form for base in more for form in (base, f"{base}-1", f"{base}-2", squashed.get(base.replace("-", "")))
            ]
            names += [squashed.get(slug.replace("-", "") + "side")]
        for name in names:
            name = aliases.get(name, {}).get("parent", name)
            if name in icons and name not in seen:
                seen.add(name)
                icon = icons[name]
                box = [icon.get(k, data.get(k, d)) for k, d in (("left", 0), ("top", 0), ("width", 16), ("height", 16))]
                body = icon["body"]
                head = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
                found.append((thing, label, f'<svg {head} viewBox="{box[0]} {box[1]} {box[2]} {box[3]}">{body}</svg>'))
                if by_code:
                    break
    return found


def _crop(picture: Image.Image, size: int) -> np.ndarray | None:
    """Crop to the alpha's box and bring the longer side to `size`."""
    box = picture.getchannel("A").point(lambda a: 255 * (a > 24)).getbbox()
    if box is None:
        return None
    picture = picture.crop(box)
    scale = size / max(picture.size)
    width, height = (max(4, round(side * scale)) for side in picture.size)
    # premultiply around the resize, or the edges take the colour of what is transparent
    return np.asarray(picture.convert("RGBa").resize((width, height), Image.Resampling.LANCZOS).convert("RGBA"))


def _rasterise(job: tuple[str, str, str | Path, int]) -> tuple[str, str, np.ndarray | None]:
    thing, label, source, size = job
    try:
        if isinstance(source, Path):
            picture = Image.open(source).convert("RGBA")
        else:
            import cairosvg  # only this step needs it

            png = cairosvg.svg2png(bytestring=source.encode(), output_width=size * 5 // 4, output_height=size * 5 // 4)
            picture = Image.open(io.BytesIO(png)).convert("RGBA")
        return thing, label, _crop(picture, size)
    except (ValueError, OSError, SyntaxError) as error:  # one that cannot be read must not stop the rest
        print(f"left out {label}: {error}")
        return thing, label, None


def load_drawings(work: Path, styles: list[str], size: int = 112) -> list[Drawing]:
    """Every drawing of the given styles, rasterised once and kept in `work` as one array file per style and size."""
    modules = install(work, styles)
    codes = {
        e["label"].lower(): e["hexcode"] for e in json.loads((modules / "emojibase-data/en/data.json").read_text())
    }
    wanted = [(t.name, label, codes[label], t.words) for t in load_things() for label in t.labels]
    drawings = []
    for style in styles:
        cache = work / f"{style}-{size}.npz"
        if not cache.exists():
            folder, follows_no_emoji = modules / STYLES[style].package.rpartition("@")[0], style in ICONS
            _fill_cache(cache, folder, wanted, size, follows_no_emoji)
        with np.load(cache) as file:
            meta, flat = json.loads(str(file["meta"])), file["pixels"]
        at = 0
        for thing, label, height, width in meta:
            rgba = flat[at : at + height * width * 4].reshape(height, width, 4)
            at += height * width * 4
            drawings.append(Drawing(thing, style, label, rgba))
    known = {thing.name for thing in load_things()}
    return [drawing for drawing in drawings if drawing.thing in known]


def _fill_cache(cache: Path, folder: Path, wanted: list, size: int, follows_no_emoji: bool) -> None:
    jobs: list[tuple[str, str, str | Path, int]]
    if (folder / "icons.json").exists():
        jobs = [(*row, size) for row in _svg_sources(folder, wanted, follows_no_emoji)]
    else:
        files = {f.stem.removesuffix("-fe0f"): f for f in (folder / "assets").glob("*.webp")}
        keys = [(thing, label, code.lower().removesuffix("-fe0f")) for thing, label, code, _ in wanted]
        jobs = [(thing, label, files[key], size) for thing, label, key in keys if key in files]
    with Pool() as pool:
        rows = pool.imap(_rasterise, jobs, chunksize=16)
        done = [(thing, label, rgba) for thing, label, rgba in rows if rgba is not None]
    meta = [(thing, label, *rgba.shape[:2]) for thing, label, rgba in done]
    pixels = np.concatenate([rgba.reshape(-1) for *_, rgba in done])
    unfinished = cache.with_suffix(".part.npz")
    np.savez(unfinished, meta=json.dumps(meta), pixels=pixels)
    unfinished.replace(cache)
