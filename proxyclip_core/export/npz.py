"""A result as NumPy arrays."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np

from proxyclip_core.export.encoding import SOFTWARE
from proxyclip_core.segmentation import Segmentation
from proxyclip_core.types import ClassLogits, PixelLogits, Refined, RegionLogits


def npz(result: Segmentation, logits: Refined | None = None) -> bytes:
    """labels (H, W) uint16, confidence (H, W) float32 in 0..1 (score of the best class), names (K,).

    logits: on top `logits` (B, Q, h, w) float32 cosines of the patches of B windows with Q queries, `queries` (Q,)
    their wordings, `query_class` (Q,) their classes; `window_corners` (B, 2) (top, left), `window_hw` and `padded_hw`
    in the picture resized to `scaled_hw`, see `WindowLayout`. Of refined ones also `refined` (q, h, w) over the whole
    picture, and `refined_queries` (q,), the queries that these are of. Of those with regions `regions` (h, w), 0 where
    none is, and `region_logits` (R, Q), that of the first one first.
    """
    arrays: dict[str, Any] = {"labels": result.labels, "confidence": result.confidence, "names": np.array(result.names)}
    if logits is not None:
        base = logits.base if isinstance(logits, RegionLogits) else logits
        patches = base.values if isinstance(base, ClassLogits) else base.patch_values
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
        if isinstance(base, PixelLogits):
            arrays["refined"] = base.values.detach().cpu().float().numpy()
            arrays["refined_queries"] = base.queries.cpu().numpy()
        if isinstance(logits, RegionLogits):
            order = logits.query_order().argsort()
            arrays["regions"] = logits.numbers.cpu().numpy()
            arrays["region_logits"] = logits.values[:, order.to(logits.values.device)].cpu().numpy()
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = SOFTWARE.encode()
    return file.getvalue()
