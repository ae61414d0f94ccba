"""The forward pass: token ids to logits, through Hugging Face's modules or, where the architecture is known, lean.

Door: `decoder_of`. `LeanDecoder` computes what Llama, Mistral, Qwen2 and Qwen3 compute, with q, k and v, and gate and
up, in one product each, on weights that Hugging Face's modules go on sharing; a decode step takes a third of the calls.
`ModuleDecoder` runs any other decoder as it is. Both write keys and values into a `SlotCache`, take a `RowPlan` for the
adapters, and send no position to the output head that nobody asks for.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from agents.engine.base import Base
from agents.engine.cache import SlotCache
from agents.engine.lora import AdapterStack
from agents.engine.plan import Parts, RowPlan

_LEAN = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}
_STATIC_ROTATIONS = {"default", "linear", "llama3", "yarn"}
_PRECISE = {torch.float32, torch.float64}
_SMALL_SCORES = 1 << 18
"""Scores a head up to which a CPU is faster with the three plain steps than with the fused kernel."""


@dataclass(frozen=True, slots=True)
class Sequences:
    """Rows of tokens that are read at once, without a cache, right padded.

    `ids` LongTensor [rows, tokens]; `keep` BoolTensor [rows, tokens]: the positions whose logits are wanted.
    `positions` [rows, tokens] and `visible` BoolTensor [rows, tokens, tokens] where they are not those of one plain
    sequence a row.
    """

    ids: Tensor
    keep: Tensor
    positions: Tensor | None = None
    visible: Tensor | None = None


class Decoder(Protocol):
    """A forward pass over one base and its stack."""

    def next_logits(self, ids: Tensor, cache: SlotCache, plan: RowPlan) -> Tensor:
        """Write ids [rows, tokens] behind what the cache holds; logits [rows, vocabulary] of the last column."""
        ...

    def read(self, rows: Sequences, plan: RowPlan) -> tuple[Tensor, Tensor]:
        """Logits [kept, vocabulary] at the kept positions, row by row, and what the output head read there [kept,
        hidden]; with autograd."""
        ...


def decoder_of(base: Base, stack: AdapterStack) -> Decoder:
    """The leanest forward that computes what the base's own does."""
    return LeanDecoder(base, stack) if _is_lean(base.model) else ModuleDecoder(base, stack)


def _is_lean(model: Any) -> bool:
    config = model.config
    kinds = getattr(config, "layer_types", None)
    whole = getattr(config, "sliding_window", None) is None and set(kinds or ["full_attention"]) == {"full_attention"}
    return bool(
        type(model).__name__ in _LEAN
        and whole
        and config.hidden_act == "silu"
        and model.model.rotary_emb.rope_type in _STATIC_ROTATIONS
    )


class ModuleDecoder:
    """Any decoder, through Hugging Face's own modules."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        self._base, self._stack = base, stack

    def next_logits(self, ids: Tensor, cache: SlotCache, plan: RowPlan) -> Tensor:
        tokens = ids.shape[1]
        with self._stack.planned(plan):
            output = self._base.model(
                input_ids=ids,
                attention_mask=cache.mask(tokens, ids.device),
                position_ids=cache.positions(tokens, ids.device),
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        cache.advance(tokens)
        logits: Tensor = output.logits[:, -1]
        return logits

    def read(self, rows: Sequences, plan: RowPlan) -> tuple[Tensor, Tensor]:
        model = self._base.model
        more: dict[str, Tensor] = {}
        if rows.visible is not None:
            more["attention_mask"] = _bias(rows.visible, model.dtype)[:, None]
        if rows.positions is not None:
            more["position_ids"] = rows.positions
        heard: list[Tensor] = []
        handle = model.get_output_embeddings().register_forward_pre_hook(lambda _, given: heard.append(given[0]))
        try:
            with self._stack.planned(plan):
                logits: Tensor = model(input_ids=rows.ids, use_cache=False, logits_to_keep=rows.keep, **more).logits
        finally:
            handle.remove()
        return logits, heard[0]


class _Projection:
    """One product for the layers of a group: W transposed [in, sum of `outputs`], their biases where they have any."""

    def __init__(self, group: int, weight: Tensor, bias: Tensor | None, outputs: list[int]) -> None:
        self.weight = weight
        self._group, self._bias, self._outputs = group, bias, outputs
        biases = [None] * len(outputs) if bias is None else torch.split_with_sizes(bias, outputs)
        self._layers = list(zip(torch.split_with_sizes(weight, outputs, dim=1), biases, strict=True))

    def __call__(self, x: Tensor, plan: RowPlan) -> Parts:
        """x [rows, tokens, in] -> for each layer [rows, tokens, out]."""
        shape = (*x.shape[:-1], -1)
        flat = x.reshape(-1, x.shape[-1])
        alone = None if torch.is_grad_enabled() else plan.alone
        if plan.blocks and alone is None:
            deltas = plan.deltas(self._group, x)
            return tuple(
                _onto(delta, flat, weight, bias) for delta, (weight, bias) in zip(deltas, self._layers, strict=True)
            )
        y = flat @ self.weight if self._bias is None else torch.addmm(self._bias, flat, self.weight)
        ys = torch.split_with_sizes(y, self._outputs, dim=-1)
        if alone is not None:
            alone.add_alone(self._group, flat, ys)
        return tuple(y.view(shape) for y in ys)


def _onto(delta: Tensor, flat: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """delta [rows, tokens, out] plus x W^T + bias of x [rows * tokens, in]; in delta's memory where no gradient needs
    it."""
    y = delta.view(-1, delta.shape[-1])
    y = torch.addmm(y, flat, weight) if torch.is_grad_enabled() else y.addmm_(flat, weight)
    return (y if bias is None else y + bias).view(delta.shape)


def _times(x: Tensor, y: Tensor) -> Tensor:
    """x * y, in x's memory where no gradient needs it: for many tokens, fresh memory costs more than the product."""
    return x * y if torch.is_grad_enabled() else x.mul_(y)


@dataclass(frozen=True, slots=True)
class _Heads:
    """Query heads come in groups of `group` for each key and value head; `size` numbers each."""

    kv: int
    group: int
    size: int

    @property
    def queries(self) -> int:
        return self.kv * self.group


@dataclass(frozen=True, eq=False)
class _HeadNorm:
    """The norms of Qwen3's queries and keys: weight [query and key heads, head size]."""

    weight: Tensor
    eps: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.rms_norm(x, x.shape[-1:], eps=self.eps) * self.weight


class _Norm:
    """RMSNorm (Zhang & Sennrich 2019, 1910.07467); in full precision the sum of squares is faster as a product."""

    def __init__(self, norm: Any) -> None:
        self._weight, self._eps = norm.weight, norm.variance_epsilon
        self._size = len(norm.weight)

    def __call__(self, x: Tensor) -> Tensor:
        if x.dtype not in _PRECISE:
            return functional.rms_norm(x, (self._size,), self._weight, self._eps)
        squares = torch.linalg.vecdot(x, x).unsqueeze(-1)
        normed: Tensor = x * torch.rsqrt(squares / self._size + self._eps) * self._weight
        return normed


@dataclass(frozen=True, eq=False)
class _Layer:
    """One decoder layer; `head_norm` is there in Qwen3 only."""

    norm: _Norm
    qkv: _Projection
    head_norm: _HeadNorm | None
    out: _Projection
    mlp_norm: _Norm
    gate_up: _Projection
    down: _Projection


class LeanDecoder:
    """Llama, Mistral, Qwen2 and Qwen3 with full attention, in the fewest calls."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        model, config = base.model, base.model.config
        self._projections = {name: number for number, group in enumerate(stack.groups) for name in group.names}
        self._stack = stack
        self._embedding = model.model.embed_tokens.weight
        self._head = _Head(model.lm_head, tied=model.lm_head.weight is self._embedding)
        self._norm = _Norm(model.model.norm)
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self._heads = _Heads(config.num_key_value_heads, config.num_attention_heads // config.num_key_value_heads, size)
        self._rotary, self._longest = model.model.rotary_emb, base.max_positions
        self._turns = self._rotation_table(min(256, base.max_positions))
        self._layers = [self._layer(f"model.layers.{number}", layer) for number, layer in enumerate(model.model.layers)]

    def _layer(self, name: str, layer: Any) -> _Layer:
        norms = [getattr(layer.self_attn, norm) for norm in ("q_norm", "k_norm") if hasattr(layer.self_attn, norm)]
        head_norm = None
        if norms:
            counts = (self._heads.queries, self._heads.kv)
            weights = [norm.weight.expand(count, -1) for norm, count in zip(norms, counts, strict=True)]
            head_norm = _HeadNorm(torch.cat(weights), norms[0].variance_epsilon)
        return _Layer(
            norm=_Norm(layer.input_layernorm),
            qkv=self._projection(f"{name}.self_attn.q_proj"),
            head_norm=head_norm,
            out=self._projection(f"{name}.self_attn.o_proj"),
            mlp_norm=_Norm(layer.post_attention_layernorm),
            gate_up=self._projection(f"{name}.mlp.gate_proj"),
            down=self._projection(f"{name}.mlp.down_proj"),
        )

    def _projection(self, first: str) -> _Projection:
        """The layers that read the same input as this one, fused; they go on as views of the fused weight.

        It is stored along its longer side: a product of one row then takes half the time on a CPU.
        """
        number = self._projections[first]
        group = self._stack.groups[number]
        outputs = list(group.outputs)
        if sum(outputs) >= group.inputs:
            weight = torch.cat(tuple(linear.weight.mT for linear in group.linears), dim=1)
        else:
            weight = torch.cat(tuple(linear.weight for linear in group.linears)).mT
        for linear, part in zip(group.linears, torch.split(weight, outputs, dim=1), strict=True):
            linear.weight = nn.Parameter(part.mT, requires_grad=False)
        biases = tuple(linear.bias for linear in group.linears if linear.bias is not None)
        return _Projection(number, weight, torch.cat(biases) if biases else None, outputs)

    def _rotation_table(self, length: int) -> tuple[Tensor, Tensor]:
        """cos and signed sin [length, head size] of every position (Su et al. 2021, 2104.09864)."""
        positions = torch.arange(length, device=self._embedding.device)[None]
        cos, sin = self._rotary(self._embedding, positions)
        signs = torch.ones(self._heads.size, device=sin.device, dtype=sin.dtype)
        signs[: self._heads.size // 2] = -1
        return cos[0], sin[0] * signs

    def _rotation(self, positions: Tensor, end: int) -> tuple[Tensor, Tensor]:
        if end > len(self._turns[0]):
            self._turns = self._rotation_table(min(self._longest, max(end, 2 * len(self._turns[0]))))
        cos, sin = self._turns
        return functional.embedding(positions, cos)[:, :, None], functional.embedding(positions, sin)[:, :, None]

    def next_logits(self, ids: Tensor, cache: SlotCache, plan: RowPlan) -> Tensor:
        tokens = ids.shape[1]
        turns = self._rotation(cache.positions(tokens, ids.device), max(cache.lengths) + tokens)
        visible = cache.visible(tokens, ids.device)
        attention = _Attention(self._heads, turns, visible, plan, cache)
        x = self._run(plan.arrange(ids), attention, plan)
        cache.advance(tokens)
        logits: Tensor = self._head(self._norm(x[:, -1]))
        return plan.restore(logits)

    def read(self, rows: Sequences, plan: RowPlan) -> tuple[Tensor, Tensor]:
        tokens = rows.ids.shape[1]
        positions = torch.arange(tokens, device=rows.ids.device)[None] if rows.positions is None else rows.positions
        turns = self._rotation(positions, int(positions.max()) + 1)
        visible = rows.visible
        if visible is None:  # what follows a row's end cannot reach it
            visible = torch.ones(tokens, tokens, dtype=torch.bool, device=rows.ids.device).tril()[None]
        x = self._run(plan.arrange(rows.ids), _Attention(self._heads, turns, visible, plan, None), plan)
        hidden = self._norm(plan.restore(x)[rows.keep])
        logits: Tensor = self._head(hidden)
        return logits, hidden

    def _run(self, ids: Tensor, attention: _Attention, plan: RowPlan) -> Tensor:
        """The layers; ids and the hidden states [rows, tokens, hidden] are in the plan's order."""
        x = functional.embedding(ids, self._embedding)
        for number, layer in enumerate(self._layers):
            x = layer.out(attention(number, layer, layer.qkv(layer.norm(x), plan)), plan)[0].add_(x)
            gate, up = layer.gate_up(layer.mlp_norm(x), plan)
            x = layer.down(_times(functional.silu(gate), up), plan)[0].add_(x)
        return x


class _Attention:
    """Attention of one forward. Rows meet their keys in the order of the batch, and leave in the plan's.

    `turns` are cos and signed sin, `visible` BoolTensor [rows or 1, tokens, columns], None where all is.
    """

    def __init__(
        self,
        heads: _Heads,
        turns: tuple[Tensor, Tensor],
        visible: Tensor | None,
        plan: RowPlan,
        cache: SlotCache | None,
    ) -> None:
        self._heads, self._turns, self._plan, self._cache = heads, turns, plan, cache
        cos = turns[0]
        if visible is None:
            self._plain, self._bias = True, cos.new_zeros(1, 1, 1)
            return
        rows, tokens, columns = visible.shape
        self._plain = not cos.is_cuda and tokens * columns <= _SMALL_SCORES
        bias = _bias(visible, cos.dtype)[:, None, None].expand(rows, 1, heads.group, tokens, columns)
        self._bias = bias.reshape(rows, 1, heads.group * tokens, columns)
        if self._plain and rows > 1:
            self._bias = self._bias.expand(rows, heads.kv, heads.group * tokens, columns).flatten(0, 1)
        elif self._plain:
            self._bias = self._bias[0]

    def __call__(self, number: int, layer: _Layer, qkv: Parts) -> Tensor:
        """q, k and v, each [rows, tokens, its heads * size] -> [rows, tokens, query heads * size]."""
        heads, (cos, sin) = self._heads, self._turns
        rows, tokens, _ = qkv[0].shape
        turned = self._plan.restore(torch.cat(qkv[:2], dim=-1)).view(rows, tokens, -1, heads.size)
        v = self._plan.restore(qkv[2]).view(rows, tokens, heads.kv, heads.size)
        if layer.head_norm is not None:
            turned = layer.head_norm(turned)
        turned = (turned * cos).addcmul_(turned.roll(heads.size // 2, -1), sin)
        q, k = torch.split_with_sizes(turned, [heads.queries, heads.kv], dim=2)
        keys, values = k.transpose(1, 2), v.transpose(1, 2)
        if self._cache is not None:
            keys, values = self._cache.layers[number].update(keys, values)
        q = q.view(rows, tokens, heads.kv, heads.group, heads.size).permute(0, 2, 3, 1, 4)
        q = q.reshape(rows, heads.kv, heads.group * tokens, heads.size)
        mixed = self._attend(q, keys, values).view(rows, heads.kv, heads.group, tokens, heads.size)
        return self._plan.arrange(mixed.permute(0, 3, 1, 2, 4).reshape(rows, tokens, -1))

    def _attend(self, q: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Softmax of q k / sqrt(size) times v; q [rows, kv, group * tokens, size], keys and values [rows, kv, columns,
        size] (Ainslie et al. 2023, 2305.13245, for the groups)."""
        scale = self._heads.size**-0.5
        if not self._plain:
            return functional.scaled_dot_product_attention(q, keys, values, attn_mask=self._bias, scale=scale)
        q, keys, values = q.flatten(0, 1), keys.flatten(0, 1), values.flatten(0, 1)
        return torch.bmm(torch.baddbmm(self._bias, q, keys.mT, alpha=scale).softmax(dim=-1), values)


class _Head:
    """The output head, stored along its outputs as projections are, unless it is the embedding's."""

    def __init__(self, linear: nn.Linear, *, tied: bool) -> None:
        self._linear = linear
        if not tied:
            linear.weight = nn.Parameter(linear.weight.mT.contiguous().mT, requires_grad=False)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._linear.weight, self._linear.bias)


def _bias(visible: Tensor, dtype: torch.dtype) -> Tensor:
    """0 where a position may be seen, else the lowest number: a row of padding that sees nothing stays finite."""
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, torch.finfo(dtype).min)
