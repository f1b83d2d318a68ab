"""proxyclip_core.models.prefix_tree: every beginning once, and each sees what stands before it."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from proxyclip_core.models.prefix_tree import grow_tree

START, END = 98, 99  # the end token is the highest id, zeros follow


def test_every_beginning_is_one_node():
    tree = grow_tree(torch.tensor([[START, 5, 6, END, 0], [START, 5, 7, 8, END], [START, 5, 6, END, 0]]))
    assert tree.ids.tolist() == [START, 5, 6, END, 7, 8, END]
    assert tree.positions.tolist() == [0, 1, 2, 3, 2, 3, 4]
    assert tree.ends.tolist() == [3, 6, 3]


def test_a_node_attends_to_what_stands_before_it_and_nothing_else():
    tree = grow_tree(torch.tensor([[START, 5, 6, END, 0], [START, 5, 7, 8, END]]))
    before = [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3], [0, 1, 4], [0, 1, 4, 5], [0, 1, 4, 5, 6]]
    seen = torch.zeros(7, 7, dtype=torch.bool)
    for node, nodes in enumerate(before):
        seen[node, nodes] = True
    query, key, value = torch.randn(3, 1, 2, 7, 4, generator=torch.Generator().manual_seed(0))
    expected = F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
    torch.testing.assert_close(tree.attend(query, key, value), expected)
    at_ends = tree.attend_at_ends(query[:, :, tree.ends], key, value)
    torch.testing.assert_close(at_ends, expected[:, :, tree.ends])
