"""The pictures of the gallery: photographs, and drawn scenes with their true label maps; all with words that suit them.

The built-in models know drawn scenes only, the others photographs, too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import proxyclip_core as pc

FOLDER = Path(__file__).parent.parent / "assets" / "examples"
LISTS = ("photographs/photographs.json", "examples.json")  # in a folder of examples


@dataclass(frozen=True)
class Example:
    """picture: a file. words: as a person would type them. labels: a label map, index into the words, or None.
    origin: of a photograph, whose it is and under which licence; "" for a drawn scene."""

    title: str
    picture: str
    words: str
    labels: str | None = None
    origin: str = ""

    @property
    def name(self) -> str:
        """Short, for a link."""
        return Path(self.picture).stem

    @property
    def is_photograph(self) -> bool:
        return bool(self.origin)


def read_examples(folder: Path | None) -> tuple[Example, ...]:
    """The examples that LISTS in a folder list; none where there are no such files."""
    listed = [folder / name for name in LISTS if (folder / name).is_file()] if folder else []
    return tuple(example for path in listed for example in _in_list(path))


def _in_list(path: Path) -> Iterator[Example]:
    for row in json.loads(path.read_text(encoding="utf-8")):
        if (path.parent / row["file"]).is_file():
            yield Example(
                title=row.get("title", Path(row["file"]).stem),
                picture=str(path.parent / row["file"]),
                words=row.get("text") or ", ".join(row["words"]),
                labels=str(path.parent / row["labels"]) if row.get("labels") else None,
                origin=f"{row['origin']}; {row['licence']}" if "origin" in row else "",
            )


def first_for(examples: Sequence[Example], clip: str) -> Example | None:
    """The example with which a page opens whose CLIP has this name."""
    return next((example for example in examples if suits(example, clip)), None)


def suits(example: Example, clip: str) -> bool:
    """Whether a CLIP knows what is in an example. Raises ValueError for one that there is none of."""
    return not (example.is_photograph and pc.find_clip(clip).builtin)
