"""SAM as a whole: what its own predictor and generator give, from an encoding that is made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from segment_anything import SamAutomaticMaskGenerator, SamPredictor
from segment_anything.modeling import ImageEncoderViT, Sam

from proxyclip_core import ProxyCLIP, SettingsWarning, WeightsError
from proxyclip_core.models import sam as sam_module
from proxyclip_core.models.registry import find_vfm
from proxyclip_core.models.sam import SamModel, build_decoder, load_sam, sam_row
from tests.replay import SHAPE, golden_sam

EVERY = {"iou": -1e9, "stability": 0.0}  # so that masks by random weights stay


@pytest.fixture(scope="module")
def official(tiny_sam) -> Sam:
    """segment-anything's own classes with the weights of `tiny_sam`."""
    shape = {name: value for name, value in SHAPE.items() if name != "num_classes"}
    more = {"out_chans": 32, "use_rel_pos": True, "window_size": 14, "global_attn_indexes": (1,)}
    encoder = ImageEncoderViT(img_size=256, patch_size=16, **more, **shape)
    state = tiny_sam.encoder.network.state_dict()
    encoder.load_state_dict({name.replace("mlp.fc", "mlp.lin"): value for name, value in state.items()})
    return Sam(encoder, tiny_sam.decoder.prompt_encoder, tiny_sam.decoder.mask_decoder).eval()


def test_the_encoding_is_that_of_sams_own_predictor(tiny_sam, official, blocks):
    predictor = SamPredictor(official)
    predictor.set_image(blocks)
    assert torch.allclose(tiny_sam.views(blocks).embeddings, predictor.get_image_embedding(), atol=1e-4)


def test_the_masks_are_those_of_sams_own_generator(tiny_sam, official, blocks):
    own = SamAutomaticMaskGenerator(official, points_per_side=3, pred_iou_thresh=-1e9, stability_score_thresh=0.0)
    expected = [found["segmentation"] for found in own.generate(blocks)]
    found = list(tiny_sam.automatic_masks(tiny_sam.views(blocks), 3, **EVERY))
    assert len(found) == len(expected) and found[0].shape == (150, 230)
    for one, other in zip(found, expected):
        assert 0.01 < other.mean() < 0.99 and (one != other).mean() < 1e-3  # the encodings differ by rounding


@pytest.mark.parametrize("is_the_vfm", [False, True])
def test_nothing_reaches_sams_device_in_float64(sam_is_the_vfm, tiny_sam, blocks, monkeypatch, is_the_vfm):
    """As on Apple's GPUs, which have none."""
    given, refused = torch.as_tensor, "Cannot convert a MPS Tensor to float64 dtype"

    def on_mps(data, dtype=None, device=None):
        found = given(data, dtype=dtype)
        return found if device is None or found.dtype != torch.float64 else pytest.fail(refused)

    features = sam_is_the_vfm.encode(blocks, 224, crop=112) if is_the_vfm else None
    views = tiny_sam.views(blocks, features)
    monkeypatch.setattr(torch, "as_tensor", on_mps)
    assert views.stretched == is_the_vfm and list(tiny_sam.automatic_masks(views, 2, **EVERY))


def test_large_pictures_have_masks_of_a_bounded_size(tiny_sam, blocks):
    large = blocks.repeat(6, axis=0).repeat(6, axis=1)
    masks = list(tiny_sam.automatic_masks(tiny_sam.views(large), 2, **EVERY))
    assert masks[0].shape == (417, 640)


@pytest.fixture(scope="module")
def sam_is_the_vfm(tiny_clip, tiny_sam) -> ProxyCLIP:
    return ProxyCLIP(tiny_clip, tiny_sam.encoder, templates="none", sam=tiny_sam)


def test_where_sam_is_the_vfm_it_does_not_read_the_picture_again(sam_is_the_vfm, tiny_sam, blocks, monkeypatch):
    features = sam_is_the_vfm.encode(blocks, 224, crop=112)
    monkeypatch.setattr(tiny_sam.encoder, "encode_windows", lambda pixels: pytest.fail("it read the picture again"))
    views = sam_is_the_vfm.sam_views(blocks, features)
    assert torch.equal(views.embeddings, features.vfm) and len(views.places) == features.layout.count > 1
    assert sam_is_the_vfm.regions(views, points=4, **EVERY).count > 1


@pytest.mark.parametrize("change", ["facet", "picture", "vfm"])
def test_features_that_are_not_sams_of_this_picture_are_not_taken(sam_is_the_vfm, tiny_model, blocks, change):
    models = {"vfm": tiny_model}
    features = models.get(change, sam_is_the_vfm).encode(
        blocks[::-1] if change == "picture" else blocks, 224, facet="keys" if change == "facet" else "tokens"
    )
    views = sam_is_the_vfm.sam_views(blocks, features)
    assert not views.stretched and len(views.embeddings) == 1
    assert torch.equal(views.embeddings, sam_is_the_vfm.sam_views(blocks).embeddings)


def test_windows_lie_where_the_picture_was_cut(sam_is_the_vfm, blocks):
    """150 x 230 pixels at 224 rows are 224 x 343; in one window that is padded to 224 x 392, by 24 to the left."""
    features = sam_is_the_vfm.encode(blocks, 224, "whole")
    (place,) = sam_is_the_vfm.sam_views(blocks, features).places
    assert place == (0, round(-24 * 230 / 343), 150, round(392 * 230 / 343))
    first, second, *_ = sam_is_the_vfm.sam_views(blocks, sam_is_the_vfm.encode(blocks, 224, crop=224)).places
    assert first == (0, 0, 150, 150) and second == (0, round(112 * 230 / 343), 150, 150)


def test_a_pixel_of_a_stretched_view_is_found_in_sams_square(sam_is_the_vfm, tiny_sam, blocks):
    views = sam_is_the_vfm.sam_views(blocks, sam_is_the_vfm.encode(blocks, 224, "whole"))
    ((predictor, (_, _, height, width)),) = tiny_sam.predictors(views)
    corner = predictor.transform.apply_coords(np.array([[width, height]], float), (height, width))
    assert corner.tolist() == [[256, 256]] and predictor.input_size == (256, 256)


def test_a_picture_that_another_sam_has_read_is_refused(tiny_sam, blocks):
    other = SamModel(golden_sam(128), build_decoder(width=32, side=128))
    with pytest.raises(ValueError, match="read by another SAM"):
        list(other.automatic_masks(tiny_sam.views(blocks), 2, **EVERY))


def test_an_encoder_and_a_decoder_of_different_widths_are_refused(tiny_sam, tiny_vfm):
    for encoder, width in ((tiny_sam.encoder, 64), (tiny_vfm, 48)):
        with pytest.raises(ValueError, match="is no encoder of this SAM"):
            SamModel(encoder, build_decoder(width=width, side=256))


@pytest.mark.parametrize(
    ("asked", "vfm", "expected"),
    [
        ("auto", "SAM H/16", "SAM H/16"),
        ("auto", "DINO B/8", "SAM B/16"),
        ("auto", None, "SAM B/16"),
        ("SAM L/16", "SAM H/16", "SAM L/16"),
    ],
)
def test_which_sam_follows_from_the_vfm_unless_it_is_said(asked, vfm, expected):
    assert sam_row(asked, vfm).name == expected


def test_missing_weights_are_said_with_what_to_do_and_before_the_encoders_run(tiny_clip, tiny_vfm, blocks, monkeypatch):
    monkeypatch.setattr(tiny_vfm, "encode_windows", lambda pixels: pytest.fail("it read the picture"))
    model = ProxyCLIP(tiny_clip, tiny_vfm, templates="none")
    with pytest.raises(WeightsError, match=r"whole of SAM L/16.*\n.*curl -L -o sam_vit_l_0b3195.pth"):
        model(blocks, "red, green", refine="sam", sam="SAM L/16")


@pytest.mark.parametrize("asked", [{"refine": "sam"}, {"refine": "sam-prompts"}, {"scope": "regions"}])
def test_a_result_that_sam_had_a_part_in_records_its_weights(tiny_model, tiny_sam, blocks, asked):
    result = tiny_model(blocks, "red, green", side=224, windows="whole", **asked)
    assert result.computed_with["sam_weights"] == tiny_sam.digest
    other = SamModel(tiny_sam.encoder, build_decoder(width=32, side=256))
    loaded = ProxyCLIP(tiny_model.clip, tiny_model.vfm, templates="simple7", sam=other)
    settings = replace(result.settings, computed_with=result.computed_with)
    with pytest.warns(SettingsWarning, match="SAM's weights"):
        loaded.run(blocks, settings)
    assert "sam_weights" not in tiny_model.computed_with(replace(settings, refine="none", scope="all"))


def test_timms_file_holds_no_decoder(tmp_path, monkeypatch):
    (tmp_path / "samvit_base_patch16.sa1b").mkdir()
    (tmp_path / "samvit_base_patch16.sa1b" / "model.safetensors").write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    with pytest.raises(WeightsError, match="its decoder too"):
        load_sam("SAM B/16", torch.device("cpu"), torch.float32)


@pytest.fixture
def whole_file(tmp_path, monkeypatch):
    """The official file of SAM B, with an encoder that stands for it, and the decoder in it."""
    decoder = build_decoder()
    torch.save(decoder.state_dict(), tmp_path / "sam_vit_b_01ec64.pth")
    monkeypatch.setenv("PROXYCLIP_WEIGHTS", str(tmp_path))
    encoder, given = golden_sam(128), []
    encoder.network.num_features = 256
    monkeypatch.setattr(sam_module, "load_vfm", lambda *named, weights: given.append((named, weights)) or encoder)
    return decoder, encoder, given


def test_the_file_of_sams_authors_gives_both_parts(whole_file, tmp_path):
    decoder, encoder, given = whole_file
    found = load_sam("SAM B/16", torch.device("cpu"), torch.bfloat16)
    assert found.encoder is encoder and found is load_sam("SAM B/16", torch.device("cpu"), torch.bfloat16)
    assert given == [(("SAM B/16", torch.device("cpu"), torch.bfloat16), tmp_path / "sam_vit_b_01ec64.pth")]
    for name, tensor in decoder.state_dict().items():
        assert torch.equal(found.decoder.state_dict()[name], tensor)


def test_the_vfm_is_taken_for_the_encoder_where_it_is_the_same_sam(whole_file):
    _, encoder, given = whole_file
    encoder.name = find_vfm("SAM B/16").name
    assert load_sam("SAM B/16", torch.device("cpu"), torch.float32, encoder).encoder is encoder and not given


def test_a_file_without_a_decoder_is_named(whole_file, tmp_path):
    torch.save({"image_encoder.pos_embed": torch.zeros(1)}, tmp_path / "sam_vit_b_01ec64.pth")
    with pytest.raises(WeightsError, match="does not hold the decoder of SAM B/16"):
        load_sam("SAM B/16", torch.device("cpu"), torch.float32)
