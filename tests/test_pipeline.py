"""The stages: against the plain reference, at every picture shape, and each run only when it must be."""

import copy

import numpy as np
import pytest
import torch

from proxyclip_core import ClipEncoder, PatchEncoder, ProxyCLIP
from proxyclip_core.models import window_batches
from tests import reference

WORDS = "sky; cloud, hill, horse; foal; mare, grass"


@pytest.mark.parametrize(
    ("height", "width", "crop", "stride"),
    [
        (112, 112, 112, 56),
        (300, 100, 112, 56),
        (90, 250, 112, 48),
        (57, 61, 336, 112),
        (130, 140, 100, 60),
        (1, 1, 336, 112),
    ],
    ids=["one window", "tall", "wide", "smaller than a window", "padded windows", "one pixel"],
)
@pytest.mark.parametrize("threshold", [0.0, 0.3])
def test_stages_equal_the_plain_method(tiny_model, height, width, crop, stride, threshold):
    picture = np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)
    words = tiny_model.embed(WORDS, background="first")
    logits = tiny_model.classify(
        tiny_model.fuse(tiny_model.encode(picture, side=None, crop=crop, stride=stride), beta=1.1, gamma=4.0), words
    )
    result = logits.segment(threshold)

    text = reference.text_embeddings(tiny_model.clip, words.queries, "simple7")
    expected = reference.picture_logits(
        tiny_model.clip, tiny_model.vfm, picture, text, (height, width), 1.1, 4.0, crop, stride
    )
    labels, confidence = reference.labels(expected, words.query_class, threshold)
    assert torch.allclose(words.embeddings, text, atol=1e-5)
    assert np.allclose(result.confidence, confidence, atol=1e-4)
    assert (result.labels == labels).mean() > 0.9999


def test_labels_come_back_at_the_pictures_own_size(tiny_model, blocks):
    result = tiny_model(blocks, "red, green, blue, yellow", side=224)
    assert result.labels.shape == result.confidence.shape == blocks.shape[:2]
    assert result.labels.dtype == np.uint16
    assert sum(result.coverage().values()) == pytest.approx(1)


def test_whole_picture_in_one_window(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224, windows="whole")
    assert features.layout.count == 1
    assert tiny_model.encode(blocks, side=336).layout.count == 3


def test_resized_picture_equals_the_plain_method(tiny_model, blocks):
    from PIL import Image

    words = tiny_model.embed(WORDS)
    features = tiny_model.encode(blocks, side=224)
    scaled = features.layout.scaled_hw
    result = tiny_model.classify(tiny_model.fuse(features), words).segment()
    picture = np.asarray(Image.fromarray(blocks).resize(scaled[::-1], Image.Resampling.BICUBIC))
    expected = reference.picture_logits(tiny_model.clip, tiny_model.vfm, picture, words.embeddings, blocks.shape[:2])
    labels, confidence = reference.labels(expected, words.query_class)
    assert scaled == (224, 343)
    assert np.allclose(result.confidence, confidence, atol=1e-4)
    assert (result.labels == labels).mean() > 0.9999


def test_many_classes_are_read_out_in_chunks(tiny_model, blocks):
    words = tiny_model.embed(", ".join(f"word {number}" for number in range(80)), templates="none")
    features = tiny_model.encode(blocks, side=None)
    result = tiny_model.classify(tiny_model.fuse(features), words).segment()
    expected = reference.picture_logits(tiny_model.clip, tiny_model.vfm, blocks, words.embeddings, blocks.shape[:2])
    labels, confidence = reference.labels(expected, words.query_class)
    assert (result.labels == labels).mean() > 0.9999
    assert np.allclose(result.confidence, confidence, atol=1e-4)


def test_each_action_runs_only_the_encoders_it_needs(tiny_model, blocks, counter):
    held = {}
    encoding = counter.during(lambda: held.update(features=tiny_model.encode(blocks, side=224)))
    assert encoding == {"clip": 1, "vfm": 2}  # a window of the VFM at a time
    assert counter.during(lambda: held.update(dense=tiny_model.fuse(held["features"]))) == {}
    assert counter.during(lambda: held.update(words=tiny_model.embed("sky, hill", "first"))) == {"text": 1}
    assert counter.during(lambda: held.update(logits=tiny_model.classify(held["dense"], held["words"]))) == {}
    assert counter.during(lambda: held["logits"].segment(0.2)) == {}
    for fusion in ("proxy", "values", "clip"):
        assert counter.during(lambda: tiny_model.fuse(held["features"], 1.5, 2.0, fusion=fusion)) == {}  # noqa: B023
    assert counter.during(lambda: tiny_model.seed_attention(held["features"], (3, 4))) == {}
    assert counter.during(lambda: tiny_model.seed_attention(held["features"], (3, 4), source="clip")) == {}
    assert counter.during(lambda: tiny_model.similarity_statistics(held["features"])) == {}
    assert counter.during(lambda: held["logits"].scores_at((3, 4))) == {}


def test_another_vfm_takes_over_what_clip_has_said(tiny_model, blocks, counter):
    features = tiny_model.encode(blocks, side=224)
    held = {}
    calls = counter.during(lambda: held.update(other=tiny_model.encode(blocks, side=224, clip_from=features)))
    assert calls == {"vfm": 2}
    assert torch.equal(held["other"].vfm, features.vfm)
    assert counter.during(lambda: tiny_model.encode(blocks, side=280, clip_from=features)) == {"clip": 1, "vfm": 2}


@pytest.mark.parametrize(("input_side", "largest"), [(None, 32), (1024, 3)], ids=["as they are", "as SAM's"])
def test_fewer_windows_at_once_where_the_vfm_enlarges_them(tiny_model, monkeypatch, input_side, largest):
    monkeypatch.setattr(window_batches, "VFM_WINDOWS_AT_ONCE", {"cpu": 32})
    vfm, taken = copy.copy(tiny_model.vfm), []
    vfm.input_side = input_side
    vfm.encode_windows = lambda windows: taken.append(len(windows)) or torch.ones(len(windows), 4, 14, 14)
    ProxyCLIP(tiny_model.clip, vfm).encode(np.zeros((336, 336 + 40 * 8, 3), np.uint8), side=None, stride=8)
    assert max(taken) == largest and sum(taken) == 41


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("CUDA out of memory"), RuntimeError("can't allocate memory")]
)
@pytest.mark.parametrize("enough_for", [1, 3])
def test_where_the_memory_is_not_enough_fewer_windows_are_taken_at_once(
    tiny_model, blocks, monkeypatch, error, enough_for
):
    monkeypatch.setattr(window_batches, "VFM_WINDOWS_AT_ONCE", {"cpu": 32})
    vfm, encode, whole = copy.copy(tiny_model.vfm), tiny_model.vfm.encode_windows, []

    def short_of_memory(windows):
        if len(windows) > enough_for:
            raise error
        whole.append(len(windows))
        return encode(windows)

    vfm.encode_windows = short_of_memory
    found = ProxyCLIP(tiny_model.clip, vfm).encode(blocks, side=224, crop=112, stride=56)
    assert torch.equal(found.vfm, tiny_model.encode(blocks, side=224, crop=112, stride=56).vfm) and len(whole) > 1


def test_memory_that_is_not_enough_for_one_window_is_no_endless_try(tiny_model, blocks):
    vfm = copy.copy(tiny_model.vfm)
    vfm.encode_windows = lambda windows: (_ for _ in ()).throw(MemoryError())
    with pytest.raises(MemoryError):
        ProxyCLIP(tiny_model.clip, vfm).encode(blocks, side=224)


def test_nothing_of_a_picture_stays_on_the_model(tiny_model, blocks):
    before = {key: id(value) for key, value in vars(tiny_model).items()}
    tiny_model(blocks, "sky, hill", side=224)
    assert {key: id(value) for key, value in vars(tiny_model).items()} == before


def test_flat_grey_picture_gives_finite_logits(tiny_model):
    grey = np.full((112, 112, 3), 128, dtype=np.uint8)
    dense = tiny_model.fuse(tiny_model.encode(grey, side=None), beta=1.6, gamma=5.0)
    logits = tiny_model.classify(dense, tiny_model.embed("sky, hill"))
    assert torch.isfinite(logits.values).all()


def test_a_row_with_everything_masked_attends_to_itself(tiny_model):
    features = tiny_model.encode(np.full((112, 112, 3), 128, dtype=np.uint8), side=None)
    heat = tiny_model.seed_attention(features, (60, 60), beta=50.0)
    assert np.isfinite(heat).all()
    assert np.unravel_index(heat.argmax(), heat.shape) == pytest.approx((60, 60), abs=8)


@pytest.mark.parametrize("size_hw", [(112, 400), (400, 112), (250, 250)], ids=["wide", "tall", "square"])
def test_corner_seeds_light_up_their_own_corner(tiny_model, size_hw):
    height, width = size_hw
    picture = np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)
    features = tiny_model.encode(picture, side=224)
    for x, y in [(0, 0), (width - 1, 0), (0, height - 1), (width - 1, height - 1)]:
        heat = tiny_model.seed_attention(features, (x, y), gamma=20.0)
        row, column = np.unravel_index(heat.argmax(), heat.shape)
        assert heat.shape == size_hw
        assert abs(row - y) <= 16 and abs(column - x) <= 16


def test_seed_attention_is_the_row_that_fusing_uses(tiny_model, blocks):
    features = tiny_model.encode(blocks[:112, :112], side=None)
    heat = tiny_model.seed_attention(features, (50, 50), beta=1.1, gamma=4.0)
    patches = heat[4::8, 4::8]  # patch centres lie half-way between pixels: close to the patch's own weight
    assert patches.sum() == pytest.approx(1, abs=0.05)
    normalised = tiny_model.seed_attention(features, (50, 50), beta=1.1, gamma=4.0, stage="normalised")
    assert (normalised >= 0).all()
    cosine = tiny_model.seed_attention(features, (50, 50), stage="cosine")
    assert cosine.max() <= 1.0001 and cosine.min() >= -1.0001


def test_seed_attention_outside_its_windows(tiny_model):
    picture = np.random.default_rng(3).integers(0, 256, (224, 900, 3), dtype=np.uint8)
    features = tiny_model.encode(picture, side=224, crop=224)
    assert (tiny_model.seed_attention(features, (0, 0))[:, 300:] == 0).all()
    assert np.isnan(tiny_model.seed_attention(features, (0, 0), stage="cosine")[:, 300:]).all()


def test_seed_outside_the_picture_is_refused(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224)
    with pytest.raises(ValueError, match="outside the picture of 230 x 150"):
        tiny_model.seed_attention(features, (230, 10))


def test_clip_fusion_is_the_tower_as_trained(tiny_model):
    picture = np.random.default_rng(4).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    features = tiny_model.encode(picture, side=None)
    tokens = tiny_model.fuse(features, fusion="clip").tokens
    tower = tiny_model.clip.network.visual
    pixels = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    mean, std = (torch.tensor(numbers).view(1, 3, 1, 1) for numbers in (tiny_model.clip.mean, tiny_model.clip.std))
    with torch.no_grad():
        out = tower.transformer(tower._embeds((pixels - mean) / std))
        expected = (tower.ln_post(out)[:, 1:] @ tower.proj).transpose(1, 2).reshape_as(tokens)
    assert torch.allclose(tokens, expected, atol=1e-4)


def test_values_fusion_is_each_patchs_own_value(tiny_model, blocks):
    features = tiny_model.encode(blocks, side=224)
    tokens = tiny_model.fuse(features, fusion="values").tokens
    expected = tiny_model.clip.project(tiny_model.clip.out_proj(tiny_model.clip.values(features.clip_tokens)))
    assert tokens.shape[-2:] == features.clip_grid
    assert torch.equal(tokens.flatten(2).transpose(1, 2), expected)


def test_fusions_without_a_vfm(tiny_clip, blocks):
    model = ProxyCLIP(tiny_clip, None, fusion="values", templates="none")
    assert model(blocks, "sky, hill", side=224).labels.shape == blocks.shape[:2]
    with pytest.raises(ValueError, match="hold no VFM"):
        model.fuse(model.encode(blocks, side=224), fusion="proxy")


def test_mean_similarity_is_taken_window_by_window(tiny_model):
    picture = np.random.default_rng(5).integers(0, 256, (112, 280, 3), dtype=np.uint8)
    picture[:, :112] = 90
    both = tiny_model.fuse(tiny_model.encode(picture, side=None, crop=112, stride=56))
    alone = tiny_model.fuse(tiny_model.encode(picture[:, :112], side=None, crop=112))
    assert torch.allclose(both.tokens[0], alone.tokens[0], atol=1e-4)


def test_scores_agree_with_the_segmentation(tiny_model, blocks):
    words = tiny_model.embed(WORDS)
    logits = tiny_model.classify(tiny_model.fuse(tiny_model.encode(blocks, side=224)), words)
    result = logits.segment()
    maps = np.stack([logits.scores(name) for name in result.names])
    assert np.allclose(maps.max(axis=0), result.confidence, atol=1e-5)
    top = logits.scores_at((70, 30))
    assert next(iter(top)) == result.names[result.labels[30, 70]]
    assert top["horse"] == pytest.approx(maps[2, 30, 70], abs=1e-5)


def test_declared_background_takes_what_is_below_the_threshold(tiny_model, blocks):
    result = tiny_model(blocks, "red, green", background="short", threshold=1.0, side=224)
    assert result.names[0] == "background"
    assert result.coverage() == {"background": 1.0, "red": 0.0, "green": 0.0}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model, picture: model(picture, "a, b", beta=float("nan")), "beta is nan"),
        (lambda model, picture: model(picture, "a, b", gamma=0), "gamma is 0"),
        (lambda model, picture: model(picture, "a, b", threshold=2), "threshold is 2"),
        (lambda model, picture: model(picture, "a, b", side=100), "side is 100"),
        (lambda model, picture: model(picture, "a, b", windows="tiled"), "windows is 'tiled'"),
        (lambda model, picture: model(picture, "a, b", background="all"), "background is 'all'"),
        (lambda model, picture: model.fuse(model.encode(picture), fusion="sum"), "'proxy', 'values', 'clip'"),
        (lambda model, picture: model.embed("a, b", templates="all"), "'none', 'simple7', 'imagenet80'"),
    ],
)
def test_settings_out_of_range_are_named(tiny_model, blocks, call, message):
    with pytest.raises(ValueError, match=message):
        call(tiny_model, blocks)


def at_precision(model: ProxyCLIP, device: str, dtype: torch.dtype) -> ProxyCLIP:
    clip, vfm = model.clip, model.vfm
    clip = ClipEncoder(copy.deepcopy(clip.network), clip.name, clip.mean, clip.std).to(torch.device(device), dtype)
    vfm = PatchEncoder(copy.deepcopy(vfm.network), vfm.name, vfm.mean, vfm.std).to(torch.device(device), dtype)
    return ProxyCLIP(clip, vfm, templates=model.templates)


def test_bfloat16_encoders_leave_words_and_labels_nearly_as_they_are(tiny_model, blocks):
    reduced = at_precision(tiny_model, "cpu", torch.bfloat16)
    words = tiny_model.embed(WORDS)
    assert torch.equal(reduced.embed(WORDS).embeddings, words.embeddings)
    features = reduced.encode(blocks)
    assert features.clip_tokens.dtype == features.vfm.dtype == torch.float32
    assert (reduced(blocks, WORDS).labels == tiny_model(blocks, WORDS).labels).mean() >= 0.98


def test_a_model_changes_its_precision_and_its_features_and_words_of_before_still_fit(tiny_model, blocks):
    model = copy.deepcopy(tiny_model)
    features, words, digest = model.encode(blocks, 224), model.embed(WORDS), model.clip.digest
    assert model.to(dtype=torch.bfloat16) is model
    assert model.clip.dtype == model.vfm.dtype == model.sam.encoder.dtype == torch.bfloat16
    assert model.computed_with()["precision"] == "bfloat16" and model.clip.digest == digest
    assert torch.equal(model.embed(WORDS).embeddings, words.embeddings)
    expected = at_precision(tiny_model, "cpu", torch.bfloat16).encode(blocks, 224)
    found = model.encode(blocks, 224)
    assert torch.equal(found.clip_tokens, expected.clip_tokens) and torch.equal(found.vfm, expected.vfm)
    assert (model.classify(model.fuse(features), words).values.isfinite()).all()
    assert model.to("cpu").clip.dtype == torch.bfloat16  # where it is not named, the precision stays


def test_a_move_to_where_no_model_can_be_is_refused_and_moves_nothing(tiny_model):
    model = copy.deepcopy(tiny_model)
    with pytest.raises(ValueError, match="device is 'meta'"):
        model.to("meta", torch.bfloat16)
    with pytest.raises(ValueError, match=r"dtype is torch\.float64; expected torch\.float32"):
        model.to("cpu", torch.float64)
    assert model.clip.dtype == torch.float32 and model.device.type == "cpu"


def test_features_that_are_no_numbers_are_refused(tiny_model, blocks):
    model = at_precision(tiny_model, "cpu", torch.float32)
    model.vfm.network.norm.weight.data.fill_(float("nan"))
    with pytest.raises(ValueError, match="no finite numbers"):
        model.encode(blocks, side=224)
    assert tiny_model.encode(blocks, side=np.int64(224)).layout.scaled_hw[0] == 224


@pytest.mark.parametrize("part", ["clip", "vfm"])
def test_an_encoder_that_overflows_in_half_precision_goes_on_in_float32(tiny_model, blocks, part):  # pytorch 58123
    model = at_precision(tiny_model, "cpu", torch.float16)
    encoder = getattr(model, part)
    halved, encode = [], encoder.encode_windows

    def overflowing(windows):
        halved.append(encoder.dtype == torch.float16)
        return encode(windows) * (float("nan") if halved[-1] else 1)

    encoder.encode_windows = overflowing
    with pytest.warns(RuntimeWarning, match=r"overflows in float16; it goes on in float32"):
        features = model.encode(blocks)
    model.encode(blocks)
    assert halved.count(True) == halved.index(False) and features.vfm.isfinite().all()
    assert "goes on in float32" in encoder.note
    assert "float32" in model.computed_with()["precision"]
