"""The pictures of the gallery: drawn scenes with words that suit them, and their true label maps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent.parent / "assets" / "examples"


@dataclass(frozen=True)
class Example:
    """picture: a file. words: as a person would type them. labels: a label map, index into the words, or None."""

    title: str
    picture: str
    words: str
    labels: str | None = None

    @property
    def name(self) -> str:
        """Short, for a link."""
        return Path(self.picture).stem


def read_examples(folder: Path | None) -> tuple[Example, ...]:
    """The examples that `examples.json` in a folder lists; none where there is no such file."""
    if folder is None or not (folder / "examples.json").is_file():
        return ()
    rows = json.loads((folder / "examples.json").read_text(encoding="utf-8"))
    return tuple(
        Example(
            title=row.get("title", Path(row["file"]).stem),
            picture=str(folder / row["file"]),
            words=row.get("text") or ", ".join(row["words"]),
            labels=str(folder / row["labels"]) if row.get("labels") else None,
        )
        for row in rows
        if (folder / row["file"]).is_file()
    )
