"""The nursery's tokenizer: byte-level BPE learnt from the corpus, one special token for each role.

Capital letters stand alone (`M|iro`), so that a name has the same tail at the start of a reply and inside a sentence,
which makes copying learnable; digits stand alone, so that column arithmetic is, and the first digit of a number takes
the blank before it along, as a name's capital does. The chat format is
`<|system|>text<|end|><|user|>text<|end|><|assistant|>text<|end|>` and the generation prompt is `<|assistant|>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from random import Random

from tokenizers import Regex, Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from tokenizers.trainers import BpeTrainer
from transformers import PreTrainedTokenizerFast

from agents.messages import Message
from training.nursery.corpus import EASY, FULL, Corpus

PAD, END = "<|pad|>", "<|end|>"
ROLES = {"system": "<|system|>", "user": "<|user|>", "assistant": "<|assistant|>"}
SPECIAL_TOKENS = (PAD, END, *ROLES.values())
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
_PIECES = r"'s| ?\d| ?\p{Lu}| ?[\p{Ll}\p{Lo}\p{Lm}\p{M}]+| ?[^\s\p{L}\p{M}\d]+|\s"


def train_tokenizer(vocabulary: int = 1024, conversations: int = 15_000, seed: int = 0) -> PreTrainedTokenizerFast:
    """Learn the merges from generated conversations and wrap them for `transformers`."""
    raw = Tokenizer(BPE())
    raw.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    raw.decoder = decoders.ByteLevel()
    trainer = BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(_texts(conversations, seed), trainer)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw,
        eos_token=END,
        pad_token=PAD,
        additional_special_tokens=list(ROLES.values()),
        clean_up_tokenization_spaces=False,
        model_max_length=1024,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _texts(conversations: int, seed: int) -> Iterator[str]:
    corpus = Corpus(Random(seed), FULL)
    easy = Corpus(Random(seed + 1), EASY)
    for _ in range(conversations // 2):
        for message in chain(corpus.conversation(), easy.conversation()):
            yield message.content


class ChatEncoder:
    """Turns conversations into token ids and the mask of trained tokens, exactly as the chat template does.

    Contents are encoded one by one with special tokens read as plain text, so that nothing in them can pose as a role.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self._raw = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        self._raw.encode_special_tokens = True
        self.end = int(tokenizer.convert_tokens_to_ids(END))
        self.pad = int(tokenizer.convert_tokens_to_ids(PAD))
        self.roles = {role: int(tokenizer.convert_tokens_to_ids(token)) for role, token in ROLES.items()}
        self.size = len(tokenizer)

    def text(self, text: str) -> list[int]:
        """Ids of bare text."""
        return list(self._raw.encode(text, add_special_tokens=False).ids)

    def conversation(self, messages: Sequence[Message]) -> tuple[list[int], list[bool]]:
        """Ids, and for each whether it is trained: assistant contents and the end that closes them."""
        ids: list[int] = []
        trained: list[bool] = []
        contents = self._raw.encode_batch([message.content for message in messages], add_special_tokens=False)
        for message, content in zip(messages, contents, strict=True):
            ids += [self.roles[message.role], *content.ids, self.end]
            trained += [False] + [message.role == "assistant"] * (len(content.ids) + 1)
        return ids, trained

    def prompt(self, messages: Sequence[Message]) -> list[int]:
        """Ids of a prompt that the assistant is to continue."""
        return [*self.conversation(messages)[0], self.roles["assistant"]]
