"""TRL's side of `benchmarks.cohort`: one GRPOTrainer an adapter, in turn. Runs in the environment of `make bench-env`.

`python -m benchmarks.trl_grpo JSON` prints {"version", "seconds": median seconds of one step for each adapter}; what
comes before the first step, and the first step itself, are not counted. Nothing of ours is imported here.
"""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any


def main() -> int:
    import torch
    import trl

    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    seconds = [one_adapter(task, seed) for seed in range(task["people"])]
    print(json.dumps({"version": trl.__version__, "seconds": seconds}))
    return 0


def one_adapter(task: dict[str, Any], seed: int) -> float:
    """Train one adapter for some steps; the median seconds of those after the first."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter())

    def even_share(completion_ids: list[list[int]], **_: Any) -> list[float]:
        return [sum(token % 2 == 0 for token in ids) / max(1, len(ids)) for ids in completion_ids]

    model = AutoModelForCausalLM.from_pretrained(task["folder"])
    model.generation_config.eos_token_id = None
    words = AutoTokenizer.from_pretrained(task["folder"])
    prompt = "a" * task["prompt"]  # a byte is a token
    assert len(words(prompt)["input_ids"]) == task["prompt"]
    with TemporaryDirectory() as scratch:
        config = GRPOConfig(
            output_dir=scratch,
            per_device_train_batch_size=task["group"],
            num_generations=task["group"],
            max_completion_length=task["new"],
            generation_kwargs={"min_new_tokens": task["new"]},
            gradient_checkpointing=False,
            max_steps=task["steps"] + 1,
            learning_rate=1e-4,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            bf16=False,
            seed=seed,
        )
        trainer = GRPOTrainer(
            model=model,
            args=config,
            processing_class=words,
            reward_funcs=even_share,
            train_dataset=Dataset.from_dict({"prompt": [prompt] * 64}),
            peft_config=LoraConfig(r=task["rank"], lora_alpha=2 * task["rank"], target_modules="all-linear"),
            callbacks=[Clock()],
        )
        trainer.train()
    return median(after - before for before, after in pairwise(ends))


if __name__ == "__main__":
    sys.exit(main())
