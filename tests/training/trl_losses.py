"""What TRL's own source makes of the cases of `test_losses.py`: run where TRL is installed, it prints them as JSON.

`python -m tests.training.trl_losses JSON`, a list of cases: the settings of `policy_loss` with
`ratios`. The loss method is called unbound on a stub that holds settings only, in float64.
"""

from __future__ import annotations

import json
import math
import sys
from collections import defaultdict
from types import SimpleNamespace
from typing import Any

import torch
from trl import GRPOTrainer

MASK = torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])


def trl_loss(case: dict[str, Any]) -> dict[str, Any]:
    """Value and gradient [2][4] of one case."""
    old = torch.full((2, 4), -1.0, dtype=torch.float64)
    logp = (old + torch.tensor(case["ratios"], dtype=torch.float64).log()).requires_grad_()
    reference = old.clone()
    reference[0] -= math.log(2)
    stub = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *_, **__: (logp, torch.zeros_like(logp), None),
        _entropy_bonus_enabled=False,
        _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(
            num_processes=1, gather=lambda one: one, reduce=lambda one, reduction: one, sync_gradients=True
        ),
        args=SimpleNamespace(delta=case["delta"], use_bias_correction_kl=False, steps_per_generation=1),
        aux_loss_enabled=False,
        beta=case["kl_beta"],
        current_gradient_accumulation_steps=1,
        epsilon_high=case["cap" if case["loss"] == "cispo" else "clip_high"],
        epsilon_low=case["clip_low"],
        importance_sampling_level=case["level"],
        loss_type=case["loss"],
        max_completion_length=case["longest"],
        model=SimpleNamespace(training=True),
        off_policy_mask_threshold=None,
        top_entropy_quantile=1.0,
        use_vllm=False,
        vllm_importance_sampling_correction=False,
    )
    ids = torch.zeros(2, 4, dtype=torch.long)
    inputs = {
        "prompt_ids": ids,
        "prompt_mask": torch.ones_like(ids),
        "completion_ids": ids,
        "completion_mask": MASK,
        "advantages": torch.tensor([1.0, -1.0], dtype=torch.float64),
        "old_per_token_logps": old,
        "ref_per_token_logps": reference,
        "num_items_in_batch": MASK.sum(),
    }
    loss = GRPOTrainer._compute_loss(stub, None, inputs)
    torch.autograd.backward(loss)
    return {"value": loss.item(), "gradient": logp.grad.tolist()}


if __name__ == "__main__":
    print(json.dumps([trl_loss(case) for case in json.loads(sys.argv[1])]))
