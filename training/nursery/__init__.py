"""How the built-in base model is made: a generated corpus, a tokenizer, one training script, one evaluation."""
