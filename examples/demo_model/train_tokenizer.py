"""Trains the demo model's byte-level BPE tokenizer and saves it with its chat template.

Words never carry the space before them, and punctuation stands alone except where JSON glues it
together: a name is then the same tokens in the middle of a sentence and after a quote, so copying
it is looking it up. Digits stand alone for the same reason.

    python train_tokenizer.py --out ../../structgen/assets/demo
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import documents
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

VOCABULARY = 4096
CONTEXT = 1024
BOS, EOS, PAD = "<|bos|>", "<|eos|>", "<|pad|>"

PIECES = "|".join(
    (
        r"""[\]}"]*[:,](?: |\n *)?["\[{]+""",  # ": " and ", " and their pretty-printed forms
        r"""": ?""",
        r"""[\[{]+(?:\n *)?"?""",
        r"""["\]}]+""",
        r"""\p{Lu}?[\p{Ll}\p{M}]+""",  # camelCase splits like snake_case
        r"""\p{Lu}+""",
        r"""[\p{L}\p{M}]+""",
        r"""\p{N}""",
        r"""\n+ *""",
        r""" +""",
        r"""\s""",
        r"""[^\s\p{L}\p{N}]""",
    )
)

CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{% if part['type'] == 'text' %}"
    "{{ part['text'] }}{% endif %}{% endfor %}{% endif %}{{ '\n' }}{% endfor %}"
)
"""Contents joined by line breaks: a document, then its answer, which is all the model knows."""


def texts(count: int) -> Iterator[str]:
    for n in range(count):
        s = documents.sample(f"tokenizer {n}")
        yield s.prompt
        yield s.text


def train(count: int) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, BOS, EOS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(count), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A", pair=f"{BOS} $A $B", special_tokens=[(BOS, tokenizer.token_to_id(BOS))]
    )
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--samples", type=int, default=100_000)
    args = parser.parse_args()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=train(args.samples),
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=CONTEXT,
        clean_up_tokenization_spaces=False,
        padding_side="left",
    )
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(args.out, save_jinja_files=False)
    settings = args.out / "tokenizer_config.json"
    text = settings.read_text().replace("TokenizersBackend", "PreTrainedTokenizerFast")
    settings.write_text(text)  # the name that every release of transformers knows
    print(f"{len(fast)} tokens")


if __name__ == "__main__":
    main()
