"""Segment Anything as a whole: what a picture's encoding and prompts give, masks that know no words.

Its encoder is a VFM of the table, so where SAM is the VFM already, what it has said of the picture's windows is used
again; else it reads the picture once more, as a whole. The decoder is segment-anything's, in float32, and stands in the
files of SAM's own authors alone: timm's hold the encoder.

Axes: V views of one picture, C the neck's width, h x w SAM's patches, H x W pixels of the working size.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from segment_anything.utils.transforms import ResizeLongestSide
from torch import nn

from proxyclip_core.interrupt import checkpoint, interruptible
from proxyclip_core.models.checkpoints import WeightsError, read_weights
from proxyclip_core.models.loading import load_vfm
from proxyclip_core.models.registry import USUAL_SAM, VFM_MODELS, VfmSpec, find_vfm
from proxyclip_core.models.vfm import TOKENS, PatchEncoder
from proxyclip_core.models.vit import check_finite
from proxyclip_core.models.weights import WEIGHTS_VARIABLE, local_files, weights_digest
from proxyclip_core.picture import picture_digest
from proxyclip_core.types import ImageFeatures, SamViews

AUTO = "auto"
LONG_SIDE = 640  # pixels of the working size; SAM's own masks have 256
POINTS_AT_ONCE = {"cuda": 64}
POINTS_AT_ONCE_ELSEWHERE = 16
RELEASES = "https://dl.fbaipublicfiles.com/segment_anything"
_loading = threading.Lock()


class SamModel:
    """SAM's encoder and decoder; digest: of all weights. Raises ValueError where they are of different widths."""

    def __init__(self, encoder: PatchEncoder, decoder: Sam) -> None:
        self.encoder, self.decoder = encoder, decoder.eval().requires_grad_(False)
        if decoder.prompt_encoder.embed_dim != encoder.width or not encoder.input_side:
            raise ValueError(f"{encoder.name} is no encoder of this SAM.")
        parts = [
            (name, tensor) for name, tensor in decoder.state_dict().items() if not name.startswith("image_encoder")
        ]
        self.digest = f"{encoder.digest}-{weights_digest(parts)}"

    @property
    def name(self) -> str:
        return self.encoder.name

    def to(self, device: torch.device, dtype: torch.dtype) -> SamModel:
        """Moves both and sets the encoder's precision; returns self."""
        self.encoder.to(device, dtype)
        self.decoder.to(device)
        return self

    @torch.no_grad()
    def views(self, picture: np.ndarray, features: ImageFeatures | None = None) -> SamViews:
        """A picture (H, W, 3) uint8 as SAM reads it: from `features` of it where this encoder made them, else anew."""
        digest, working_hw = picture_digest(picture), _working_size(picture.shape[:2])
        if features is not None and features.picture == digest and self._made(features):
            assert features.vfm is not None
            places = tuple(_window_places(features, working_hw))
            return SamViews(features.vfm.float(), working_hw, places, True, digest, self.name, self.encoder.digest)
        place = (0, 0, *working_hw)
        return SamViews(self._encode(picture), working_hw, (place,), False, digest, self.name, self.encoder.digest)

    def _made(self, features: ImageFeatures) -> bool:
        return features.vfm is not None and features.vfm_id == self.encoder.digest and features.facet == TOKENS

    def _encode(self, picture: np.ndarray) -> torch.Tensor:
        """(1, C, h, w): the picture with its long side at SAM's, and the mean colour after its end."""
        side = int(self.encoder.input_side or 0)
        resized = torch.from_numpy(SamPredictor(self.decoder).transform.apply_image(picture).copy())
        square = torch.tensor(self.encoder.mean).view(1, 3, 1, 1).repeat(1, 1, side, side)
        square[0, :, : resized.shape[0], : resized.shape[1]] = resized.permute(2, 0, 1) / 255
        embedding = self.encoder.encode_windows(square.to(self.decoder.device))
        check_finite(self.name, [embedding])
        return embedding

    def predictors(self, views: SamViews) -> Iterator[tuple[SamPredictor, tuple[int, int, int, int]]]:
        """segment-anything's predictor for each view, with its picture set, and the view's place."""
        if views.sam_id != self.encoder.digest:
            raise ValueError(f"The picture was read by another SAM than {self.name}. Let this one read it.")
        for embedding, place in zip(views.embeddings, views.places):
            yield _Encoded(self.decoder, embedding[None].to(self.decoder.device), place[2:], views.stretched), place

    @torch.no_grad()
    def automatic_masks(self, views: SamViews, points: int, iou: float, stability: float) -> Iterator[np.ndarray]:
        """Masks (H, W) bool of the working size, by SAM's automatic mask generator.

        points: on each side of a grid over the picture, fewer on a part of it. iou, stability: see `ProxyCLIP.regions`.
        """
        height, width = views.working_hw
        at_once = POINTS_AT_ONCE.get(self.decoder.device.type, POINTS_AT_ONCE_ELSEWHERE)
        for predictor, (top, left, high, wide) in self.predictors(views):
            share = max(high, wide) / max(height, width)
            generator = SamAutomaticMaskGenerator(
                self.decoder,
                points_per_side=max(1, round(points * min(1.0, share))),
                points_per_batch=at_once,
                pred_iou_thresh=iou,
                stability_score_thresh=stability,
            )
            generator.predictor = predictor
            for found in generator.generate(np.broadcast_to(np.uint8(0), (high, wide, 3))):
                mask = np.zeros((height, width), bool)
                inside = found["segmentation"][max(0, -top) : height - top, max(0, -left) : width - left]
                rows, columns = max(0, top), max(0, left)
                mask[rows : rows + inside.shape[0], columns : columns + inside.shape[1]] = inside
                yield mask


class _Encoded(SamPredictor):
    """segment-anything's predictor for a picture that is encoded already."""

    transform: Any  # from pixels of the picture to SAM's, as segment-anything has it

    def __init__(self, decoder: Sam, embedding: torch.Tensor, size_hw: tuple[int, int], stretched: bool) -> None:
        super().__init__(decoder)
        self.transform = (_Stretched if stretched else _LongestSide)(self.transform.target_length)
        self._embedding, self._stretched = embedding, stretched
        self.set_image(np.broadcast_to(np.uint8(0), (*size_hw, 3)))

    def predict_torch(self, *given: Any, **named: Any) -> Any:
        """As segment-anything's: a few prompts at a time."""
        checkpoint()
        return super().predict_torch(*given, **named)

    def set_image(self, image: np.ndarray, image_format: str = "RGB") -> None:
        """Takes the encoding for that of `image`, of which only the size counts."""
        side = self.transform.target_length
        self.original_size = image.shape[:2]
        shape = self.transform.get_preprocess_shape(*image.shape[:2], side)
        self.input_size = (side, side) if self._stretched else shape
        self.features, self.is_image_set = self._embedding, True


class _LongestSide(ResizeLongestSide):
    """As segment-anything's, but in float32: the automatic mask generator puts points on SAM's device as they are, and
    Apple's GPUs have no float64."""

    def apply_coords(self, coords: np.ndarray, original_size: tuple[int, ...]) -> np.ndarray:
        return super().apply_coords(coords, original_size).astype(np.float32)


class _Stretched(_LongestSide):
    """From pixels of a view to SAM's, where the view fills SAM's square."""

    def apply_coords(self, coords: np.ndarray, original_size: tuple[int, ...]) -> np.ndarray:
        height, width = original_size
        return (coords * (self.target_length / width, self.target_length / height)).astype(np.float32)


def _working_size(size_hw: tuple[int, ...]) -> tuple[int, int]:
    scale = min(1.0, LONG_SIDE / max(size_hw))
    height, width = (max(1, round(side * scale)) for side in size_hw)
    return height, width


def _window_places(features: ImageFeatures, working_hw: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    layout = features.layout
    scales = [working / scaled for working, scaled in zip(working_hw, layout.scaled_hw)]
    for corner in layout.corners:
        starts = [round((start - pad) * scale) for start, pad, scale in zip(corner, layout.padding_top_left, scales)]
        height, width = (max(1, round(side * scale)) for side, scale in zip(layout.padded_hw, scales))
        yield starts[0], starts[1], height, width


def sam_row(name: str, vfm: str | None) -> VfmSpec:
    """The row of a SAM by one of `SETTINGS["sam"]`: for "auto" that of the VFM where it is one, else SAM B's."""
    own = VFM_MODELS.get(vfm or "")
    if name == AUTO and own is not None and own.is_sam and (own.official_file or own.path):
        return own
    return find_vfm(USUAL_SAM if name == AUTO else name)


def load_sam(name: str, device: torch.device, dtype: torch.dtype, vfm: PatchEncoder | None = None) -> SamModel:
    """A SAM by the name of its row; the last one stays. vfm: taken for its encoder where it is that row's.

    Nothing is downloaded. Raises WeightsError where its authors' file is not on this machine, which says what to do.
    """
    spec = find_vfm(name)
    file = whole_file(spec)
    with _loading, interruptible(lambda: None):  # the check might wait for somebody who waits here
        return _loaded(file, spec.name, device, dtype, vfm if vfm is not None and vfm.name == spec.name else None)


def forget() -> None:
    """Lets go of the SAM that stays."""
    _loaded.cache_clear()


def whole_file(spec: VfmSpec) -> Path:
    """The file with a SAM's decoder, and its encoder beside it. Raises WeightsError as `load_sam`."""
    for file in local_files(spec):
        if spec.path or file.name == spec.official_file:
            return file
    official = spec.official_file
    raise WeightsError(
        f"SAM's masks need the whole of {spec.name}, its decoder too, which is not on this machine: the file {official}"
        f" in the folder that {WEIGHTS_VARIABLE} names. Fetch it there with\n"
        f"  curl -L -o {official} {RELEASES}/{official}\n"
        "or choose a refinement without SAM."
    )


@lru_cache(maxsize=1)
def _loaded(file: Path, name: str, device: torch.device, dtype: torch.dtype, encoder: PatchEncoder | None) -> SamModel:
    decoder, state = build_decoder(), read_weights(file, lambda name: torch.float32)
    parts = ("prompt_encoder.", "mask_decoder.")
    state = {name: tensor for name, tensor in state.items() if name.startswith(parts)}
    try:
        decoder.load_state_dict(state)
    except RuntimeError:
        raise WeightsError(f"{file} does not hold the decoder of {name}. Give the file of SAM's authors.") from None
    return SamModel(encoder or load_vfm(name, device, dtype, weights=file), decoder.to(device))


class _Elsewhere(nn.Module):
    """In the place of segment-anything's encoder. img_size: the side of what it reads."""

    def __init__(self, img_size: int) -> None:
        super().__init__()
        self.img_size = img_size


def build_decoder(width: int = 256, side: int = 1024, patch: int = 16) -> Sam:
    """segment-anything's prompt encoder and decoder, the same for B, L and H, with random weights and no encoder.

    width: of the neck. side, patch: pixels of what the encoder reads, and of one patch of it.
    """
    grid = side // patch
    encoder: Any = _Elsewhere(side)
    return Sam(
        encoder,
        PromptEncoder(width, (grid, grid), (side, side), mask_in_chans=16),
        MaskDecoder(
            transformer_dim=width,
            transformer=TwoWayTransformer(depth=2, embedding_dim=width, mlp_dim=8 * width, num_heads=8),
            iou_head_depth=3,
            iou_head_hidden_dim=width,
        ),
    )
