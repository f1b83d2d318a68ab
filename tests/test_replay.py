"""The library computes what the paper's authors' code computes."""

import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from segment_anything.modeling import ImageEncoderViT

from proxyclip_core.models.vit import normalise
from tests import replay

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.npz")), ids=lambda path: path.stem)
def test_golden_case_is_reproduced(path):
    outcome = replay.replay(path)
    assert outcome.passed, str(outcome)


@pytest.mark.parametrize("path", sorted((GOLDEN / "refine").glob("*.npz")), ids=lambda path: path.stem)
def test_golden_case_past_the_paper_is_reproduced(path):
    outcome = replay.replay(path)
    assert outcome.passed, str(outcome)


@pytest.mark.parametrize(
    ("name", "array"),
    [("pamr_many", "refined"), ("lposs_two_windows", "solved"), ("across_windows_plain", "attended")],
)
def test_a_case_past_the_paper_that_differs_fails(name, array, tmp_path, capsys):
    case = dict(np.load(GOLDEN / "refine" / f"{name}.npz"))
    case[array] = case[array] + (0.01 if array == "solved" else 2e-5)
    np.savez(tmp_path / "changed.npz", **case)
    assert replay.main([str(tmp_path)]) == 1
    assert "FAIL  changed" in capsys.readouterr().out


def test_a_kind_that_is_not_known_is_named(tmp_path):
    np.savez(tmp_path / "new.npz", meta='{"kind": "crf"}')
    with pytest.raises(ValueError, match="new is of kind 'crf'; expected one of pamr, lposs"):
        replay.replay(tmp_path / "new.npz")


def test_replay_exits_with_an_error_when_a_case_differs(tmp_path, capsys):
    case = dict(np.load(GOLDEN / "dino8_one_window.npz"))
    case["logits"] = case["logits"] + 1e-3
    np.savez(tmp_path / "changed.npz", **case)
    assert replay.main([str(tmp_path)]) == 1
    assert "FAIL  changed" in capsys.readouterr().out


def test_replay_prints_a_line_a_case(tmp_path, capsys):
    shutil.copy(GOLDEN / "dino8_one_window.npz", tmp_path)
    assert replay.main([str(tmp_path)]) == 0
    line = capsys.readouterr().out
    assert line.startswith("pass  dino8_one_window") and "equal labels 100.0000%" in line


def moved(share: float, size: float) -> replay.Difference:
    """The difference of 1,000 logits, of which a share was moved by `size`."""
    ours, theirs = np.zeros(1000, np.float32), np.zeros(1000, np.float32)
    ours[: round(1000 * share)] = size
    return replay.Difference.between(ours, theirs)


EXACT = moved(0, 0)


def outcome(features=EXACT, text=EXACT, window_logits=EXACT, logits=EXACT, equal_labels=1.0, on_edge=12):
    return replay.Outcome("planted", features, text, window_logits, logits, equal_labels, on_edge)


@pytest.mark.parametrize("where", ["window_logits", "logits"])
def test_few_logits_may_be_moved_a_little_where_pairs_sit_on_the_edge(where):
    assert outcome(**{where: moved(0.005, 2.9e-4)}).passed
    assert not outcome(**{where: moved(0.006, 2e-5)}).passed
    assert not outcome(**{where: moved(0.001, 3.1e-4)}).passed
    assert not outcome(**{where: moved(0.001, float("nan"))}).passed


def test_without_pairs_on_the_edge_no_logit_may_be_moved():
    assert outcome(logits=moved(1, 0.9e-5), on_edge=0).passed
    assert not outcome(logits=moved(0.001, 1.1e-5), on_edge=0).passed


def test_nothing_else_may_be_moved():
    assert not outcome(features=moved(0.001, 1.1e-5)).passed
    assert not outcome(text=moved(0.001, 1.1e-5)).passed
    assert not outcome(equal_labels=0.9999).passed


def test_what_was_moved_is_said():
    line = str(outcome(logits=moved(0.004, 1e-4)))
    assert "pairs on the edge 12  beyond 1e-05 0.000% and 0.400% of both logits" in line


def test_pairs_on_the_edge_are_counted_without_a_patch_and_itself():
    # Unit patches at 0, 60 and 180 degrees: S is 0.5 for the first two, both ways; -0.5 and -1 for the others.
    angles = torch.tensor([0.0, 60.0, 180.0]).deg2rad()
    features = torch.stack([angles.cos(), angles.sin()]).view(1, 2, 1, 3)
    mean = ((angles.cos().mean()) ** 2 + angles.sin().mean() ** 2).item()
    assert replay.pairs_on_edge(features, 0.5 / mean, 3.0) == 2
    assert replay.pairs_on_edge(features, 1.0 / mean, 3.0) == 0  # S is 1 where a patch meets itself
    assert replay.pairs_on_edge(features, 0.6 / mean, 3.0) == 0


def test_replay_says_so_when_there_are_no_cases(tmp_path, capsys):
    assert replay.main([str(tmp_path)]) == 2
    assert "holds no .npz" in capsys.readouterr().err


def test_sam_encoder_equals_segment_anything():
    shape = {"img_size": 1024, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3, "mlp_ratio": 4}
    relative = {"use_rel_pos": True, "window_size": 14, "global_attn_indexes": (1,)}
    norm = partial(torch.nn.LayerNorm, eps=1e-6)
    official = ImageEncoderViT(**shape, **relative, out_chans=32, qkv_bias=True, norm_layer=norm)
    replay.fill(official, "vfm.")
    encoder = replay.golden_vfm("sam")
    window = torch.rand(1, 3, 112, 168, generator=torch.Generator().manual_seed(0))
    pixels = normalise(window, encoder.mean, encoder.std)
    pixels = torch.nn.functional.interpolate(pixels, size=(1024, 1024), mode="bilinear", align_corners=False)
    with torch.no_grad():
        assert torch.allclose(encoder.encode_windows(window), official(pixels), atol=1e-5)
