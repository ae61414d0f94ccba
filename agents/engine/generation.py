"""Generation: a running batch whose completions join and leave between decode steps, each with its own adapter slot.

Doors: `Batch` (admit, prefill, step, leave) for the server, `generate` for training. A prompt is prefilled once for all
of its samples, and in pieces where it is long, so that others go on meanwhile. It knows neither HTTP nor queues.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.engine.base import Base
from agents.engine.cache import SlotCache
from agents.engine.decoder import decoder_of
from agents.engine.lora import AdapterStack
from agents.engine.plan import RowPlan
from agents.engine.sampling import Choice, Draw, choose, stream
from agents.engine.text import TextStream
from agents.messages import FinishReason, SamplingParams
from personal_data.errors import BackendError

PREFILL_TOKENS = 4096
"""Padded tokens prefilled together, unless one prompt alone is longer."""


class Sample:
    """One completion while it grows. `token_ids` and `logprobs` include the end token, the text does not."""

    def __init__(self, base: Base, prompt: Prompt, index: int) -> None:
        params = prompt.params
        self.index = index
        self.draw = Draw(params, stream(params.seed, *prompt.place, index))
        self.token_ids: list[int] = []
        self.logprobs: list[float] = []
        self.text = ""
        self.finish_reason: FinishReason | None = None
        self.failed = False
        self._text = TextStream(base.decode, params.stop, live=prompt.live or bool(params.stop))
        self._ends = base.eos_ids | prompt.stop_ids
        self._limit = min(params.max_tokens, base.max_positions - len(prompt.ids))

    @property
    def done(self) -> bool:
        return self.failed or self.finish_reason is not None

    def push(self, choice: Choice | None) -> str:
        """Take the next token; return the text that became certain. None means that its logits were not finite."""
        if choice is None:
            self.failed = True
            return ""
        self.token_ids.append(choice.token)
        self.logprobs.append(choice.logprob)
        fresh = "" if choice.token in self._ends else self._text.push(choice.token)
        if choice.token in self._ends or self._text.stopped:
            self.finish_reason = "stop"
        elif len(self.token_ids) >= self._limit:
            self.finish_reason = "length"
        if self.done:
            fresh += self._text.finish()
        self.text += fresh
        return fresh


@dataclass(eq=False)
class Prompt:
    """A tokenised prompt with its samples: same adapter slot, same parameters, random streams of their own.

    `place` tells prompts of one request apart, so that one seed fixes all of them. `live` asks for text as it grows;
    otherwise it comes with the last token.
    """

    base: Base
    ids: tuple[int, ...]
    params: SamplingParams
    slot: int = 0
    n: int = 1
    place: tuple[int, ...] = ()
    stop_ids: frozenset[int] = frozenset()
    live: bool = True
    samples: list[Sample] = field(init=False)

    def __post_init__(self) -> None:
        self.samples = [Sample(self.base, self, index) for index in range(self.n)]


@dataclass(frozen=True, slots=True)
class Step:
    """What one sample got in one step: the token, the text that became certain, and whether that was the end.

    The sample goes on growing in the engine's thread; a step never changes.
    """

    prompt: Prompt
    sample: Sample
    choice: Choice | None
    text: str
    finish_reason: FinishReason | None


class _Prefill:
    """Prompts whose keys and values are being computed together, left padded, some columns at a time."""

    def __init__(self, prompts: Sequence[Prompt], priority: int, layers: int, device: torch.device) -> None:
        self.priority = priority
        self.prompts: list[Prompt | None] = list(prompts)
        lengths = [len(prompt.ids) for prompt in prompts]
        self.cache = SlotCache.for_prompts(layers, lengths)
        self.ids = torch.tensor(
            [[0] * (max(lengths) - length) + list(prompt.ids) for prompt, length in zip(prompts, lengths, strict=True)],
            device=device,
        )
        self.done = 0

    @property
    def slots(self) -> list[int]:
        return [0 if prompt is None else prompt.slot for prompt in self.prompts]

    def piece(self, tokens: int | None) -> Tensor:
        """The next columns of ids: about `tokens` tokens of all rows together, or all that is left."""
        rows, width = self.ids.shape
        columns = width - self.done if tokens is None else max(1, min(tokens // rows, width - self.done))
        self.done += columns
        return self.ids[:, self.done - columns : self.done]


class Batch:
    """The rows that decode together, and the prompts that are about to join them."""

    def __init__(self, base: Base, stack: AdapterStack) -> None:
        self.base = base
        self.stack = stack
        self.decoder = decoder_of(base, stack)
        self._layers = int(base.model.config.get_text_config().num_hidden_layers)
        self._cache = SlotCache(self._layers)
        self._rows: list[tuple[Prompt, Sample]] = []
        self._prefills: deque[_Prefill] = deque()
        self._plan: RowPlan | None = None
        self.prefilled = 0
        """Tokens of prompts read so far, padding included."""

    @property
    def rows(self) -> int:
        """Samples that are decoding now."""
        return len(self._rows)

    @property
    def promised(self) -> int:
        """Rows that the admitted prompts will take."""
        return sum(prompt.n for prefill in self._prefills for prompt in prefill.prompts if prompt is not None)

    @property
    def prefills(self) -> int:
        """Groups of admitted prompts."""
        return len(self._prefills)

    def admit(self, prompts: Sequence[Prompt], *, priority: int = 0) -> None:
        """Take prompts in to be prefilled together; a lower `priority` goes first."""
        self._prefills.append(_Prefill(prompts, priority, self._layers, self.base.device))

    @torch.inference_mode()
    def prefill(self, tokens: int | None = None) -> list[Step]:
        """Go on with the admitted prompts, groups of equal priority in turns: about `tokens` tokens, or all they have.

        When that ends them, draw the first token of each of their samples; those that go on join the rows.
        """
        prefill = min(self._prefills, key=lambda one: one.priority)
        self._prefills.remove(prefill)
        self._prefills.append(prefill)
        ids = prefill.piece(tokens)
        self.prefilled += ids.numel()
        logits = self.decoder.next_logits(ids, prefill.cache, self.stack.plan(prefill.slots))
        if prefill.done < prefill.ids.shape[1]:
            return []
        self._prefills.remove(prefill)
        prompts = [(row, prompt) for row, prompt in enumerate(prefill.prompts) if prompt is not None]
        picks = [row for row, prompt in prompts for _ in prompt.samples]
        owners = [(prompt, sample) for _, prompt in prompts for sample in prompt.samples]
        steps = self._draw(logits[picks], owners)
        staying = [(pick, owner) for pick, owner in zip(picks, owners, strict=True) if not owner[1].done]
        if staying:
            self._cache.append(prefill.cache, [pick for pick, _ in staying])
            self._rows += [owner for _, owner in staying]
            self._plan = None
        return steps

    def join(self, prompts: Sequence[Prompt]) -> list[Step]:
        """Admit prompts and prefill them whole, with all that was admitted before."""
        self.admit(prompts)
        steps: list[Step] = []
        while self._prefills:
            steps += self.prefill()
        return steps

    @torch.inference_mode()
    def step(self) -> list[Step]:
        """Draw one more token for every row; rows that are done leave."""
        if self._plan is None:
            self._plan = self.stack.plan([prompt.slot for prompt, _ in self._rows])
        ids = torch.tensor([[sample.token_ids[-1]] for _, sample in self._rows], device=self.base.device)
        self._cache.make_room()
        logits = self.decoder.next_logits(ids, self._cache, self._plan)
        steps = self._draw(logits, self._rows)
        self._keep(lambda _, sample: not sample.done)
        return steps

    @torch.inference_mode()
    def leave(self, prompt: Prompt) -> None:
        """Remove every row of a prompt, finished or not."""
        for prefill in list(self._prefills):
            prefill.prompts = [None if one is prompt else one for one in prefill.prompts]
            if not any(prefill.prompts):
                self._prefills.remove(prefill)
        self._keep(lambda owner, _: owner is not prompt)

    def replan(self) -> None:
        """Take note that adapters have moved between slots, or prompts were given others."""
        self._plan = None

    def clear(self) -> None:
        """Remove every row, whatever state a failed forward left behind."""
        self._rows = []
        self._prefills.clear()
        self._cache = SlotCache(self._layers)
        self._plan = None

    def _keep(self, wanted: Callable[[Prompt, Sample], bool]) -> None:
        """Drop the other rows; the last row takes a dropped one's place, as in the cache."""
        for row in reversed(range(len(self._rows))):
            if not wanted(*self._rows[row]):
                self._cache.drop(row)
                self._rows[row] = self._rows[-1]
                self._rows.pop()
                self._plan = None

    @staticmethod
    def _draw(logits: Tensor, owners: Sequence[tuple[Prompt, Sample]]) -> list[Step]:
        choices = choose(logits, [sample.draw for _, sample in owners])
        texts = [sample.push(choice) for (_, sample), choice in zip(owners, choices, strict=True)]
        return [
            Step(prompt, sample, choice, text, sample.finish_reason)
            for (prompt, sample), choice, text in zip(owners, choices, texts, strict=True)
        ]


def fits(group: Sequence[Prompt], prompt: Prompt, free: int, *, tokens: int = PREFILL_TOKENS) -> bool:
    """Whether a prompt may join a group to prefill together: its samples find `free` rows, padding stays bounded, and
    all of them have no more than `tokens`.

    All of a group get their first token together.
    """
    lengths = [len(prompt.ids), *(len(other.ids) for other in group)]
    alike = max(lengths) <= 2 * min(lengths) + 64
    return prompt.n <= free and (not group or (alike and max(lengths) * len(lengths) <= tokens))


def generate(batch: Batch, prompts: Sequence[Prompt], *, max_rows: int = 64) -> None:
    """Fill in the samples of all prompts, `max_rows` of them at a time, or as many as one prompt has.

    Raises:
        BackendError: a model or an adapter gives logits that are not finite.
    """
    waiting = deque(prompts)
    max_rows = max([max_rows, *(prompt.n for prompt in prompts)])
    while waiting or batch.rows:
        group: list[Prompt] = []
        free = max_rows - batch.rows
        while waiting and fits(group, waiting[0], free):
            group.append(waiting.popleft())
            free -= group[-1].n
        if group:
            batch.join(group)
        if batch.rows:
            batch.step()
    if any(sample.failed for prompt in prompts for sample in prompt.samples):
        raise BackendError("the model gives values that are not finite; its adapter has diverged")
