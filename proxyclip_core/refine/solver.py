"""Label propagation: the linear system that both graphs, of patches and of pixels, are solved by.

D. Zhou et al., Learning with Local and Global Consistency, NIPS 2003. With W the symmetric weights of a graph's edges
and D its degrees,

    (I - alpha D^-1/2 W D^-1/2) X = Y

moves the scores Y along the edges. The matrix is symmetric and positive definite for alpha < 1, so conjugate gradients
solve it.

Axes: Q queries, ... the nodes of the graph, in whatever shape the graph has them.
"""

from __future__ import annotations

from collections.abc import Callable

import torch

from proxyclip_core.interrupt import checkpoint

RELATIVE_RESIDUAL = 1e-6  # where the solution is called exact; float32 gives little more
ENOUGH = 1e-3  # for how scores differ from their mean: what is left moves a cosine by less than labels show
MOST_STEPS = 500
STEPS_BETWEEN_LOOKS = 4  # at the residual, where that means to wait for a GPU; elsewhere each step is followed by one

Product = Callable[[torch.Tensor], torch.Tensor]


def solve(
    product: Product,
    scores: torch.Tensor,
    alpha: float,
    steps: int | None = None,
    relative_residual: float = RELATIVE_RESIDUAL,
) -> torch.Tensor:
    """X of the system above, for scores Y (Q, ...) float32.

    product: (Q, ...) -> (Q, ...), D^-1/2 W D^-1/2 times a vector of the nodes, for each query.
    alpha: 0 <= alpha < 1, how far scores travel. steps: of conjugate gradients; None goes on until the residual is
    this share of Y.
    """
    check_alpha(alpha)
    found = torch.zeros_like(scores)
    residual = scores.clone()
    direction = residual.clone()
    squared = _dot(residual, residual)
    enough = squared * relative_residual**2
    apart = 1 if scores.device.type == "cpu" else STEPS_BETWEEN_LOOKS
    for step in range(MOST_STEPS if steps is None else steps):
        checkpoint()
        if steps is None and step % apart == 0 and bool((squared <= enough).all()):
            break
        moved = product(direction).mul_(-alpha).add_(direction)
        length = squared / _dot(direction, moved).clamp(min=torch.finfo(scores.dtype).tiny)
        found.addcmul_(length, direction)
        residual.addcmul_(length, moved, value=-1)
        before, squared = squared, _dot(residual, residual)
        direction.mul_(squared / before.clamp(min=torch.finfo(scores.dtype).tiny)).add_(residual)
    return found


def propagate(product: Product, scores: torch.Tensor, alpha: float) -> torch.Tensor:
    """As `solve`, as far as labels show, divided by the solution for scores of 1 at every node.

    X is up to 1 / (1 - alpha) times as large as Y, more so for nodes with many edges. Divided, it is a weighted mean
    of the scores of all nodes: cosines stay cosines, and softmax and threshold keep their meaning.
    """
    axis = 0 if scores.is_contiguous() else -1  # where the queries are in memory, and stay
    # What all nodes share comes out as it went in. Without it fewer steps give what is left as exactly.
    mean = scores.flatten(1).mean(dim=1).view(-1, *([1] * (scores.ndim - 1)))
    parts = [part.movedim(0, axis) for part in (scores - mean, torch.ones_like(scores[:1]))]
    with_ones = torch.cat(parts, dim=axis).movedim(axis, 0)
    found = solve(product, with_ones, alpha, relative_residual=ENOUGH)
    return (found[:-1] / found[-1:]).add_(mean)


def check_alpha(alpha: float) -> None:
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha is {alpha}; expected at least 0 and less than 1 (LPOSS uses 0.95).")


def _dot(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(Q, ...) twice -> (Q, 1, ...), which broadcasts against both."""
    product = (first * second).flatten(1).sum(dim=1)
    return product.view(-1, *([1] * (first.ndim - 1)))
