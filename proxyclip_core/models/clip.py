"""CLIP, which knows what things are called.

It takes windows as (B, 3, H, W) float RGB in 0..1, with sides that are multiples of 56, and normalises them itself.
Where a side is no multiple of the patch size, the pixels after the last whole patch are not looked at, as in the
paper's code. Results are float32, whatever the precision of the weights.

Axes: B windows, h x w patches, N = h * w, D CLIP width, E embedding, P prompts, T tokens of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from proxyclip_core.attention import ENTRIES_AT_ONCE
from proxyclip_core.cpu import fast_products
from proxyclip_core.interrupt import checkpoint
from proxyclip_core.models.prefix_tree import PrefixTree, grow_tree
from proxyclip_core.models.registry import OTHER_CLIPS
from proxyclip_core.models.vit import RGB, Network, normalise, resample_positions
from proxyclip_core.models.weights import sample_of, weights_digest
from proxyclip_core.models.word_cache import WordCache
from proxyclip_core.words import templates_of

# open_clip and timm are imported where they are used: they bring in torchvision and torch's compiler, which takes
# longer than everything else, and a page or a command line should be there before a model is.

PROMPTS_AT_ONCE = 256

Attend = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Progress = Callable[[Sequence[Any]], Iterable[Any]]


class ClipEncoder:
    """CLIP's two towers, cut before the last block of the vision tower.

    network: an open_clip.CLIP whose vision tower is a plain ViT. Raises ValueError, with the reason, for another.
    word_cache: keeps embeddings of words between vocabularies, where one is set (`load_clip` does); else every word is
    embedded every time.
    digest, text_digest: of all weights, and of the text tower's; see `notice_changes` for weights that are changed.
    note: what is to be said of how it computes, "" for nothing.
    """

    def __init__(
        self,
        network: Network,
        name: str,
        mean: RGB,
        std: RGB,
    ) -> None:
        from open_clip import SimpleTokenizer

        refuse_unless_plain(network, name)
        self.network: Network = network.eval().requires_grad_(False)
        self.name = name
        self.mean, self.std = mean, std
        self._take_digests()
        self.word_cache: WordCache | None = None
        self.note = ""
        self.reference: torch.Tensor | None = None  # embeddings of `presence.reference_words`, once they were asked for
        self.tokenizer = SimpleTokenizer(context_length=network.context_length)
        self.tokenizer.clean_fn = cleaned
        self._longest: dict[str, int] = {}  # template set -> tokens that its longest one adds to a word

    def _take_digests(self) -> None:
        state = self.network.state_dict().items()
        vision, text = ([pair for pair in state if pair[0].startswith("visual.") == wanted] for wanted in (True, False))
        self.text_digest = weights_digest(text)
        self.digest = f"{weights_digest(vision)[:8]}{self.text_digest[:8]}"
        self._text_sample = sample_of(self._text_weights())

    def _text_weights(self) -> Iterator[torch.Tensor]:
        yield from self.network.parameters(recurse=False)
        for name, part in self.network.named_children():
            if name != "visual":
                yield from part.parameters()

    def notice_changes(self) -> None:
        """Takes the digests anew where the text tower was changed in place, as by a LoRA that is merged into it: words
        are embedded anew then, and features and words of before are another model's.

        As it is called for each picture and vocabulary, it looks at some 32 numbers of each tensor, which takes about a
        millisecond: a change of single numbers may go unnoticed. A change of the vision tower alone does, whose layers
        may be packed; encode the pictures again after one. `to` is no change.
        """
        if sample_of(self._text_weights()) == self._text_sample:
            return
        self._take_digests()
        self.reference = None
        if self.word_cache is not None:
            self.word_cache.tower = self.text_digest

    @property
    def device(self) -> torch.device:
        return self.network.visual.conv1.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """Precision of the vision tower up to its last block; see `to`."""
        return self.network.visual.conv1.weight.dtype

    def to(self, device: torch.device, dtype: torch.dtype) -> ClipEncoder:
        """Moves the network; returns self. Only what the picture goes through before the last block takes `dtype`.

        The last block, the projection and the text tower stay float32. They cost little, as words are embedded once
        and it is one block of many; but an error in a word shifts its score in every pixel.
        """
        self.network.to(device)
        for layer in self.picture_layers:
            layer.to(dtype)
        return self

    @property
    def picture_layers(self) -> tuple[nn.Module, ...]:
        """What a picture goes through before the last block."""
        return early_layers(self.network)

    @property
    def width(self) -> int:
        """D, the channels of a token."""
        return int(self.network.visual.conv1.out_channels)

    @property
    def last_block(self) -> Network:
        return self.network.visual.transformer.resblocks[-1]

    def grid_of(self, window_hw: tuple[int, int]) -> tuple[int, int]:
        """(h, w), the whole patches in a window of this many pixels."""
        patch_h, patch_w = self.network.visual.patch_size
        return window_hw[0] // patch_h, window_hw[1] // patch_w

    def encode_windows(self, windows: torch.Tensor) -> torch.Tensor:
        """(B, 3, H, W) -> input of the last block (B, 1 + N, D) float32, class token first."""
        tower = self.network.visual
        pixels = normalise(windows, self.mean, self.std).to(self.dtype)
        patches = tower.conv1(pixels)  # (B, D, h, w)
        class_token = tower.class_embedding.to(self.dtype).expand(len(windows), 1, -1)
        tokens = torch.cat([class_token, patches.flatten(2).transpose(1, 2)], dim=1)  # (B, 1 + N, D)
        positions = tower.positional_embedding
        grid_positions = resample_positions(positions[1:], tower.grid_size, tuple(patches.shape[-2:]))
        tokens = tower.ln_pre(tokens + torch.cat([positions[:1], grid_positions]).to(self.dtype))
        with fast_products(tokens.device):
            for block in tower.transformer.resblocks[:-1]:
                tokens = run_block(block, tokens)
        return tokens.float()

    def values(self, tokens: torch.Tensor) -> torch.Tensor:
        """Input of the last block (B, 1 + N, D) -> its values without the class token, (B, N, D) float32."""
        attention = self.last_block.attn
        normed = self.last_block.ln_1(tokens[:, 1:])
        bias = attention.in_proj_bias.chunk(3)[2]
        return F.linear(normed, attention.in_proj_weight.chunk(3)[2], bias)

    def out_proj(self, values: torch.Tensor) -> torch.Tensor:
        """The layer that mixes the heads after attention: (B, N, D) -> (B, N, D) float32.

        The rows of W sum to 1, and so do the weights of resampling: out_proj(W V) = W out_proj(V). Before them it is
        computed for CLIP's patches, of which there are fewer than the VFM's.
        """
        return self.last_block.attn.out_proj(values)

    def project(self, attended: torch.Tensor) -> torch.Tensor:
        """Attended values with their heads mixed (B, N, D) -> joint space (B, N, E) float32: proj(ln_post(.)).

        Without the residual and the MLP of the last block, which would bring the class token's view back in.
        """
        tower = self.network.visual
        return F.linear(tower.ln_post(attended), tower.proj.T)

    def plain_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """The last block as it was trained, residual and MLP included: (B, 1 + N, D) -> (B, N, E) float32."""
        tower = self.network.visual
        return F.linear(tower.ln_post(run_block(self.last_block, tokens)[:, 1:]), tower.proj.T)

    @property
    def heads(self) -> int:
        """Of the last block's attention."""
        return int(self.last_block.attn.num_heads)

    def own_attention(self, tokens: torch.Tensor, row: int | None = None, head: int | None = None) -> torch.Tensor:
        """CLIP's own attention in the last block: from patch `row` of one window to all its patches.

        head: one alone, from 0 on; None for the mean over heads. tokens (1, 1 + N, D) -> (N,) float32, or (N, N) from
        all patches where `row` is None; a row sums to 1 less what goes to the class token. Raises ValueError for a head
        that is not there.
        """
        if head is not None and not 0 <= head < self.heads:
            raise ValueError(f"head is {head}; {self.name} has {self.heads}, counted from 0.")
        attention = self.last_block.attn
        normed = self.last_block.ln_1(tokens[0])  # (1 + N, D)
        asking = normed[1:] if row is None else normed[row + 1 : row + 2]
        weights, biases = attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3)
        queries, keys = (
            F.linear(*part).unflatten(-1, (self.heads, -1)) for part in zip((asking, normed), weights, biases)
        )
        chosen = range(self.heads) if head is None else (head,)
        found = torch.zeros(len(asking), len(normed), device=normed.device)
        for rows in torch.arange(len(asking), device=normed.device).split(max(1, ENTRIES_AT_ONCE // len(normed))):
            for one in chosen:  # never all heads' N x N at once
                checkpoint()
                scores = queries[rows, one] @ keys[:, one].T / keys.shape[-1] ** 0.5
                found[rows] += scores.softmax(dim=-1) / len(chosen)
        return found[:, 1:] if row is None else found[0, 1:]

    def check_length(self, words: Iterable[str], templates: str) -> None:
        """Raises ValueError where a word does not fit into each prompt of a template set."""
        if templates not in self._longest:
            self._longest[templates] = max(self.count_tokens(one.replace("{}", "")) for one in templates_of(templates))
        room = self.network.context_length - 2 - self._longest[templates]  # less the start and the end token
        for word in words:
            count = self.count_tokens(word)
            if count > room:
                raise ValueError(
                    f"{word[:60] + '...' if len(word) > 60 else word!r} is too long: {count} tokens, and CLIP reads "
                    f"at most {room} beside the template. Say it in fewer words."
                )

    def count_tokens(self, text: str) -> int:
        """Tokens of a text, without the start and the end token."""
        return len(self.tokenizer.encode(text))

    def encode_text(self, prompts: Sequence[str], progress: Progress = iter) -> torch.Tensor:
        """Prompts -> (P, E) float32 of unit length. progress: wraps the batches, as tqdm does."""
        ids = self.tokenizer(list(prompts))  # (P, 77)
        # Side by side in the order of their tokens, prompts have the most of their beginnings in common.
        order = torch.tensor(sorted(range(len(ids)), key=ids.tolist().__getitem__))
        batches = progress(order.split(PROMPTS_AT_ONCE))
        parts = [self._encode_tree(grow_tree(ids[batch]).to(self.device)) for batch in batches]
        found = torch.cat(parts)
        embeddings = torch.empty_like(found)
        embeddings[order.to(self.device)] = found
        return embeddings

    def _encode_tree(self, tree: PrefixTree) -> torch.Tensor:
        """-> (P, E). Of the last block only what it makes of the end tokens is computed: the tower is read there."""
        network = self.network
        tokens = (network.token_embedding(tree.ids) + network.positional_embedding[tree.positions])[None]  # (1, N, D)
        *early, last = network.transformer.resblocks
        with fast_products(tokens.device):
            for block in early:
                tokens = run_block(block, tokens, tree.attend)
            end = run_block(last, tokens, tree.attend_at_ends, rows=tree.ends)  # (1, P, D)
        return F.normalize(network.ln_final(end[0]) @ network.text_projection, dim=-1)


def cleaned(text: str) -> str:
    """As open_clip cleans a text before it is cut into tokens. Most texts have nothing to be repaired, and to look for
    it takes longer than all else."""
    from open_clip.tokenizer import get_clean_fn

    if text.isascii() and text.isprintable() and "&" not in text:
        return " ".join(text.split()).lower()
    return str(get_clean_fn("lower")(text))


def run_block(
    block: Network, tokens: torch.Tensor, attend: Attend | None = None, rows: torch.Tensor | None = None
) -> torch.Tensor:
    """One block of open_clip's transformers, step by step: (B, T, D) -> (B, T, D), or `rows` (R,) of it alone.

    The forward of nn.MultiheadAttention is not called, because it would not take the kernels of `fast_products`.
    attend: queries (B, H, T or R, d), keys and values (B, H, T, d) -> as the queries; by default each attends to all.
    """
    checkpoint()
    normed, attention = block.ln_1(tokens), block.attn
    asking = normed
    if rows is not None:
        tokens, asking = tokens[:, rows], normed[:, rows]
    parts = zip((asking, normed, normed), attention.in_proj_weight.chunk(3), attention.in_proj_bias.chunk(3))
    query, key, value = (F.linear(*part).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2) for part in parts)
    attended = (attend or F.scaled_dot_product_attention)(query, key, value).transpose(1, 2).flatten(2)
    tokens = tokens + block.ls_1(attention.out_proj(attended))
    return tokens + block.ls_2(block.mlp(block.ln_2(tokens)))


def early_layers(network: Network) -> tuple[nn.Module, ...]:
    """What a picture goes through before the last block of an open_clip.CLIP."""
    tower = network.visual
    return (tower.conv1, tower.ln_pre, *tower.transformer.resblocks[:-1])


def early_weights(network: Network) -> set[str]:
    """The names of the weights of `early_layers`."""
    early = {id(weight) for layer in early_layers(network) for weight in layer.parameters()}
    return {name for name, weight in network.named_parameters() if id(weight) in early}


def refuse_unless_plain(network: Network, name: str) -> None:
    """Raises ValueError, with the reason, for what is no plain CLIP.

    Proxy attention takes the last attention block apart, so the towers must be the ones CLIP was published with."""
    from open_clip import CLIP
    from open_clip.transformer import ResidualAttentionBlock, VisionTransformer

    def refuse(reason: str) -> None:
        raise ValueError(
            f"{name} cannot be used: {reason}. Proxy attention needs CLIP's plain ViT with a class token and a causal "
            f"text tower; {OTHER_CLIPS} are built differently."
        )

    if type(network) is not CLIP:
        refuse(f"it is a {type(network).__name__}, not an open_clip.CLIP")
    tower = network.visual
    if not isinstance(tower, VisionTransformer):
        refuse(f"its vision tower is a {type(tower).__name__}, not a VisionTransformer")
    if tower.attn_pool is not None or tower.pool_type != "tok" or tower.final_ln_after_pool:
        refuse("its vision tower does not read the picture out at a class token")
    for block in (*tower.transformer.resblocks, *network.transformer.resblocks):
        if type(block) is not ResidualAttentionBlock or not isinstance(block.attn, nn.MultiheadAttention):
            refuse(f"one of its blocks is a {type(block).__name__}, not a plain one with a standard attention layer")
    if tower.proj is None or not isinstance(network.text_projection, nn.Parameter):
        refuse("it has no linear projection into the joint space")
    if network.attn_mask is None or network.text_pool_type != "argmax":
        refuse("its text tower is not causal or is not read at the end token")
