"""Stages past the paper, all optional: whether words are there at all, and regions that the picture sharpens."""

from __future__ import annotations

from dataclasses import replace
from inspect import signature
from typing import TYPE_CHECKING, Any

import torch

from proxyclip_core import presence
from proxyclip_core import refine as refinement
from proxyclip_core.models.clip import ClipEncoder
from proxyclip_core.models.vfm import PatchEncoder
from proxyclip_core.models.word_embeddings import embed_words
from proxyclip_core.picture import ImageLike, picture_digest, read_image
from proxyclip_core.pipeline import Stages, check_same_clip, stage
from proxyclip_core.refine.patches import PatchGraph
from proxyclip_core.refine.pixels import ColourGraph
from proxyclip_core.refine.regions import paint
from proxyclip_core.settings import SETTINGS, Settings, default
from proxyclip_core.types import (
    ClassLogits,
    DenseFeatures,
    ImageFeatures,
    Refined,
    Regions,
    SamViews,
    Vocabulary,
)
from proxyclip_core.words import Classes

if TYPE_CHECKING:
    from proxyclip_core.models.sam import SamModel


class Beyond(Stages):
    """The paper's stages, and these.

    sam: a SAM of one's own, in place of those of the table, which are loaded when they are asked for regions.
    """

    def __init__(
        self,
        clip: ClipEncoder,
        vfm: PatchEncoder | None,
        fusion: str = default("fusion"),
        templates: str = default("templates"),
        sam: SamModel | None = None,
    ) -> None:
        super().__init__(clip, vfm, fusion, templates)
        self.sam = sam

    def computed_with(self, settings: Settings | None = None) -> dict[str, Any]:
        """As `Stages.computed_with`. settings: of the result; where they ask SAM, the record names its weights too."""
        more = {"sam_weights": self.sam_model(settings.sam).digest} if settings and settings.asks_sam else {}
        return super().computed_with() | more

    @stage
    def presence(self, dense: DenseFeatures, vocabulary: Vocabulary) -> dict[str, float]:
        """Whether each word is in the picture at all, 0..1 by class name, without the background; see `presence`.

        Runs the text tower for words that were not read in the sentences of `presence.TEMPLATES`, and once a CLIP for
        the reference vocabulary. Raises ValueError as `classify`, and for words of another CLIP than this model's.
        """
        check_same_clip(dense, vocabulary)
        found = self._presence(dense, vocabulary).tolist()
        return dict(list(zip(vocabulary.names, found))[int(vocabulary.has_background) :])

    def with_plain(self, vocabulary: Vocabulary) -> Vocabulary:
        """The vocabulary, ready for the `presence` of many pictures. ValueError for words of another CLIP."""
        self._check_words(vocabulary)
        return replace(vocabulary, plain=self._plain(vocabulary))

    def _plain(self, vocabulary: Vocabulary) -> torch.Tensor:
        """(Q, E), in the sentences in which the reference vocabulary is read: others would not compare."""
        if vocabulary.plain is not None:
            return vocabulary.plain
        if vocabulary.templates == presence.TEMPLATES:
            return vocabulary.embeddings
        return embed_words(self.clip, vocabulary.queries, presence.TEMPLATES)

    def _presence(self, dense: DenseFeatures, vocabulary: Vocabulary) -> torch.Tensor:
        """(K,) on the CPU."""
        self.clip.notice_changes()  # before what is kept of the reference vocabulary is used
        self._check_words(vocabulary)
        if self.clip.reference is None:
            self.clip.reference = embed_words(self.clip, presence.reference_words(), presence.TEMPLATES)
        given = (part.to(self.device) for part in (dense.tokens, self._plain(vocabulary), self.clip.reference))
        return presence.best_of_class(presence.presence_of(*given).cpu(), vocabulary.query_class.cpu())

    @stage
    def words_in(self, dense: DenseFeatures, vocabulary: Vocabulary) -> Classes:
        """The classes of a vocabulary that win a region and are there, the largest first. ValueError as `presence`."""
        logits = self.classify(dense, vocabulary)
        present = self._presence(dense, vocabulary) >= presence.PERHAPS_ABSENT
        classes = vocabulary.classes
        won = presence.winners(logits.values.cpu(), vocabulary.query_class.cpu(), present)
        return tuple(classes[index] for index in won)

    @stage
    def patch_graph(self, features: ImageFeatures, **settings: Any) -> PatchGraph:
        """The links of the picture's patches, for `refine(..., "patches", graph=...)` with one choice of words after
        another, of beta or of gamma: none of them changes it. settings: `k`, `gamma`, `sigma`, `power` of LPOSS.

        Raises ValueError without a VFM.
        """
        return refinement.picture_graph(features, device=self._sparse_device(), **settings)

    @stage
    def colour_graph(self, image: ImageLike, method: str = "quick") -> ColourGraph:
        """The links of the picture's pixels, for `refine(..., method, graph=...)` with one choice of words, models or
        settings after another. method: "quick" or "pixels", with its own dilations and working size.

        Raises ValueError for another method, and as `read_image`.
        """
        if method not in refinement.BY_COLOURS:
            raise ValueError(f"method is {method!r}; expected one of {', '.join(refinement.BY_COLOURS)}.")
        picture, ways = read_image(image), signature(refinement.METHODS[method]).parameters
        dilations, long_side = (ways[name].default for name in ("dilations", "long_side"))
        device = self._sparse_device()
        return refinement.picture_colours(picture, picture_digest(picture), dilations, long_side, device)

    def _sparse_device(self) -> torch.device:
        return self.device if self.device.type in refinement.WITH_SPARSE else torch.device("cpu")

    @stage
    def refine(
        self,
        logits: ClassLogits,
        features: ImageFeatures,
        image: ImageLike,
        method: str = default("refine"),
        sam: str = default("sam"),
        *,
        views: SamViews | None = None,
        regions: Regions | None = None,
        **settings: Any,
    ) -> Refined:
        """Stage 5, optional and past the paper: logits sharpened by the picture itself, by a method of `refine.refine`.

        views, regions: what SAM has said of the picture, for the methods that ask it; where they are not given, it is
        asked, see `seen_by_sam`. Raises ValueError for what is of different pictures, and for a method or a setting
        that does not exist, WeightsError where SAM is not on this machine.
        """
        if method in refinement.BY_SAM and views is None and (regions is None or method != "sam"):
            views = self.sam_views(image, features, sam)
        if method == "sam":
            settings["regions"] = self.regions(views) if regions is None and views is not None else regions
        elif method == "sam-prompts" and views is not None:
            settings |= {"views": views.to(self.device), "model": self._sam_of(views)}
        return refinement.refine(logits.to(self.device), features, image, method, **settings)

    def sam_model(self, sam: str = default("sam")) -> SamModel:
        """The SAM that one of `SETTINGS["sam"]` means; "auto" is the VFM where that is a SAM, else SAM B.

        Raises WeightsError where it is not on this machine: nothing is downloaded for it.
        """
        SETTINGS["sam"].check(sam)
        if self.sam is not None:
            return self.sam
        from proxyclip_core.models import sam as sam_models  # here, because few need it and it is slow to import

        row = sam_models.sam_row(sam, self.vfm.name if self.vfm is not None else None)
        precision = (self.vfm or self.clip).dtype
        return sam_models.load_sam(row.name, self.device, precision, self.vfm)

    @stage
    def sam_views(self, image: ImageLike, features: ImageFeatures | None = None, sam: str = default("sam")) -> SamViews:
        """The picture as SAM reads it: once more and as a whole, unless it is the VFM that `features` come from."""
        return self.sam_model(sam).views(read_image(image), features)

    @stage
    def regions(self, views: SamViews, *, points: int = 8, iou: float = 0.4, stability: float = 0.4) -> Regions:
        """SAM's automatic regions of a picture, the smaller ones upon the larger ones.

        points: on each side of a grid over the picture, each asked for three masks. iou, stability: what a mask must
        reach of SAM's own guess of its overlap with the truth, and of how little it depends on the threshold. The
        defaults are CorrCLIP's quick ones; its others, 32, 0.7 and 0.7, take 16 times as long.
        """
        masks = self._sam_of(views).automatic_masks(views.to(self.device), points, iou, stability)
        numbers = paint(masks, views.working_hw)
        return Regions(torch.from_numpy(numbers).to(self.device), views.picture)

    def seen_by_sam(
        self,
        image: ImageLike,
        features: ImageFeatures,
        refine: str,
        scope: str = default("scope"),
        sam: str = default("sam"),
    ) -> dict[str, Any]:
        """What these settings ask of SAM: the named arguments `views` and `regions` of `refine`, or nothing."""
        wants_regions = refine == "sam" or SETTINGS["scope"].check(scope) == "regions"
        if refine not in refinement.BY_SAM and not wants_regions:
            return {}
        views = self.sam_views(image, features, sam)
        return {"views": views} | ({"regions": self.regions(views)} if wants_regions else {})

    def _sam_of(self, views: SamViews) -> SamModel:
        return self.sam or self.sam_model(views.sam)
