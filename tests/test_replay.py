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
