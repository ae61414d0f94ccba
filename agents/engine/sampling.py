"""From logits to tokens: temperature, top-k, top-p, one random stream for each row.

Door: `choose`. Each row draws one uniform number per step from its own generator and inverts the cumulative
distribution, so a seed fixes a row's draws whatever else is in the batch. It fixes the tokens as far as the logits are
the same: their last bits depend on the batch's shape, and where a draw falls on an edge the token may differ. Reported
log-probabilities are the model's own, at temperature 1 and before any truncation, so that they compare with scoring.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from agents.messages import SamplingParams

_GREEDY_BELOW = 1e-5  # as in vLLM: a colder temperature overflows the division of the logits and means the same


@dataclass(frozen=True, slots=True)
class Choice:
    """A sampled token id, its log-probability (natural log), and the best alternatives that were asked for."""

    token: int
    logprob: float
    top: tuple[tuple[int, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Draw:
    """How one row is sampled."""

    params: SamplingParams
    random: random.Random


def stream(seed: int | None, *indices: int) -> random.Random:
    """The random stream of one completion, fixed by the request's seed and the completion's place; None is fresh."""
    if seed is None:
        return random.Random()
    digest = hashlib.sha256(":".join(map(str, (seed, *indices))).encode()).digest()
    return random.Random(int.from_bytes(digest[:16], "little"))


def choose(logits: Tensor, draws: Sequence[Draw]) -> list[Choice | None]:
    """Sample one token a row.

    Args:
        logits: [rows, vocabulary], any floating type.
        draws: one per row.

    Returns:
        One choice per row; None where the row's logits are not finite.
    """
    logits = logits.float()
    whole = logits.logsumexp(dim=-1, keepdim=True)
    tokens = _likeliest(logits)
    if warm := [row for row, draw in enumerate(draws) if draw.params.temperature >= _GREEDY_BELOW]:
        tokens[warm] = _sample(logits[warm], [draws[row] for row in warm])
    chosen = (logits.gather(1, tokens[:, None]) - whole)[:, 0]
    tops = _alternatives(logits, whole, draws)
    return [
        Choice(token, logprob, top) if math.isfinite(logprob) else None
        for token, logprob, top in zip(tokens.tolist(), chosen.tolist(), tops, strict=True)
    ]


def _sample(logits: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Draw from softmax(logits / temperature) truncated to the top k and the nucleus; [rows] -> token ids."""
    temperature = torch.tensor([draw.params.temperature for draw in draws], device=logits.device)
    scaled = logits / temperature[:, None]
    if any(draw.params.top_k or draw.params.top_p < 1 for draw in draws):
        scaled = _truncate(scaled, draws)
    cumulative = torch.softmax(scaled, dim=-1).cumsum(dim=-1, dtype=torch.float64)
    points = torch.tensor([[draw.random.random()] for draw in draws], dtype=torch.float64, device=logits.device)
    tokens = torch.searchsorted(cumulative, points * cumulative[:, -1:], right=True)[:, 0]
    return tokens.clamp_(max=logits.shape[-1] - 1)


def _truncate(scaled: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Hide what is outside the k best, and of these what is outside the smallest set that holds top_p of their
    probability (Holtzman et al. 2019, 1904.09751; in this order, as vLLM and Hugging Face do)."""
    size = scaled.shape[-1]
    top_k = torch.tensor([min(draw.params.top_k or size, size) for draw in draws], device=scaled.device)
    top_p = torch.tensor([draw.params.top_p for draw in draws], device=scaled.device)
    ordered, order = scaled.sort(dim=-1, descending=True)
    beyond = torch.arange(size, device=scaled.device) >= top_k[:, None]
    probabilities = torch.softmax(ordered.masked_fill(beyond, float("-inf")), dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    hidden = beyond | (before >= top_p[:, None])
    hidden[:, 0] = False
    return scaled.masked_fill(hidden.scatter(1, order, hidden), float("-inf"))


def _likeliest(logits: Tensor) -> Tensor:
    """The first largest of each row; NumPy's search takes a twentieth of the time of torch's on a CPU."""
    return logits.argmax(dim=-1) if logits.is_cuda else torch.from_numpy(logits.numpy().argmax(axis=-1))


def _alternatives(logits: Tensor, whole: Tensor, draws: Sequence[Draw]) -> list[tuple[tuple[int, float], ...]]:
    wanted = [draw.params.logprobs or 0 for draw in draws]
    if not any(wanted):
        return [()] * len(draws)
    values, tokens = logits.topk(min(max(wanted), logits.shape[-1]), dim=-1)
    pairs = zip(tokens.tolist(), (values - whole).tolist(), strict=True)
    return [tuple(zip(ids[:k], best[:k], strict=True)) for (ids, best), k in zip(pairs, wanted, strict=True)]
