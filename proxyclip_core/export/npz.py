"""A result as NumPy arrays."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from proxyclip_core.export.encoding import SOFTWARE
from proxyclip_core.types import ClassLogits, PixelLogits, Segmentation


def npz(result: Segmentation, logits: ClassLogits | PixelLogits | None = None) -> bytes:
    """labels (H, W) uint16, confidence (H, W) float32 in 0..1 (score of the best class), names (K,).

    logits: on top `logits` (B, Q, h, w) float32 cosines of the patches of B windows with Q queries, `queries` (Q,)
    their wordings, `query_class` (Q,) their classes; `window_corners` (B, 2) (top, left), `window_hw` and `padded_hw`
    in the picture resized to `scaled_hw`, see `WindowLayout`. Of refined ones also `refined` (q, h, w) over the whole
    picture, and `refined_queries` (q,), the queries that these are of.
    """
    arrays: dict[str, Any] = {"labels": result.labels, "confidence": result.confidence, "names": np.array(result.names)}
    if logits is not None:
        patches = logits.values if isinstance(logits, ClassLogits) else logits.patch_values
        layout, vocabulary = logits.layout, logits.vocabulary
        arrays |= {
            "logits": patches.detach().cpu().float().numpy(),
            "queries": np.array(vocabulary.queries),
            "query_class": vocabulary.query_class.cpu().numpy(),
            "window_corners": np.array(layout.corners),
            "window_hw": np.array(layout.window_hw),
            "padded_hw": np.array(layout.padded_hw),
            "scaled_hw": np.array(layout.scaled_hw),
        }
        if isinstance(logits, PixelLogits):
            arrays["refined"] = logits.values.detach().cpu().float().numpy()
            arrays["refined_queries"] = logits.queries.cpu().numpy()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = SOFTWARE.encode()
    return file.getvalue()
