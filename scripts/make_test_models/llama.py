"""A language model of under a million parameters that thinks, calls tools, answers from their results and chats.

    python -m scripts.make_test_models llama --minutes 20 --seed 0

It knows the requests in llama_dialogues.py and hardly anything else, and is in the form of the Qwen family: ChatML,
`<think>`, Hermes' `<tool_call>`.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path

import gguf
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from pipeline.llm.chat_template import ChatTemplate
from scripts.train_builtin_model.batches import Batch, batch_of
from scripts.train_builtin_model.export import Card, export
from scripts.train_builtin_model.model import Llama, Shape
from scripts.train_builtin_model.train import Plan, train

from .llama_dialogues import Example, examples

OUT = Path("tests/weights/llama-tools/tools.gguf")

CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
MARKUP = ("<think>", "</think>", "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>")
END = CONTROL[2]

TEMPLATE = """\
{%- if tools or messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content }}{% endif %}
{%- if tools %}
{{- '\\n\\n' if messages[0].role == 'system' }}
{{- 'Tools:\\n' }}
{%- for tool in tools %}{{- tool.function | tojson + '\\n' }}{% endfor %}
{%- endif %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
{%- if loop.first and message.role == 'system' %}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- else %}
{{- '<|im_start|>' + message.role + '\\n' + message.content }}
{%- for call in message.tool_calls or [] %}
{{- '\\n' if message.content or not loop.first }}
{{- '<tool_call>\\n{"name": "' + call.function.name + '", "arguments": ' }}
{{- call.function.arguments | tojson }}
{{- '}\\n</tool_call>' }}
{%- endfor %}
{{- '<|im_end|>\\n' }}
{%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and not enable_thinking %}{{- '<think>\\n\\n</think>\\n\\n' }}{% endif %}
{%- endif %}"""

SHAPE = Shape(vocabulary=640, width=128, layers=4, heads=4, hidden=352, context=2048)

CARD = Card(
    name="Parley test tools",
    description="A tiny model for tests, which thinks and calls tools.",
    template=TEMPLATE,
    kinds=dict.fromkeys(CONTROL, gguf.TokenType.CONTROL) | dict.fromkeys(MARKUP, gguf.TokenType.USER_DEFINED),
    end=END,
    pad=CONTROL[0],
)

LEAST_WEIGHT = 0.02
"""How much the prompt counts as a target: enough to learn what its words are."""


class Texts:
    """Examples as text: the prompt as the engine makes it, and the reply."""

    def __init__(self) -> None:
        self._template = ChatTemplate(TEMPLATE)

    def of(self, example: Example) -> tuple[str, str]:
        parts = self._template.render(example.messages, example.tools, thinking=example.thinking)
        reply = f"<think>\n{example.thought}\n</think>\n\n" if example.thinking else ""
        calls = (f'{{"name": "{call.name}", "arguments": {call.arguments}}}' for call in example.calls)
        reply += example.text + "\n".join(f"<tool_call>\n{call}\n</tool_call>" for call in calls)
        return "".join(part.text for part in parts), reply + END


def main(arguments: Sequence[str]) -> None:
    """Trains the model and writes it."""
    parser = argparse.ArgumentParser(prog="python -m scripts.make_test_models llama", description=__doc__)
    parser.add_argument("--out", type=Path, default=OUT, help="the GGUF file to write (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=20, help="wall time of the training (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="more wait for each other on a busy machine")
    options = parser.parse_args(arguments)
    torch.manual_seed(options.seed)
    torch.set_num_threads(options.threads)
    texts = Texts()
    tokenizer = make_tokenizer("".join(texts.of(example)) for example in islice(examples(options.seed), 20_000))
    model = Llama(SHAPE)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    train(
        model,
        batches(examples(options.seed + 1), texts, tokenizer, tokens=4096),
        Plan(options.minutes, export_minutes=3),
        Path(tempfile.gettempdir()) / f"{options.out.stem}-loss.tsv",
        lambda weights: export(options.out, SHAPE, weights, tokenizer, CARD),
    )
    print(f"wrote {options.out}: {options.out.stat().st_size / 1e6:.2f} MB")


def make_tokenizer(texts: Iterator[str]) -> Tokenizer:
    """A byte-level BPE with GPT-2's splitting, trained on the examples."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SHAPE.vocabulary,
        special_tokens=[*CONTROL, *MARKUP],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def batches(source: Iterator[Example], texts: Texts, tokenizer: Tokenizer, tokens: int) -> Iterator[Batch]:
    """Batches of about `tokens` ids; examples of like length share one."""
    while True:
        pool = []
        for example in islice(source, 512):
            prompt, reply = (tokenizer.encode(text).ids for text in texts.of(example))
            pool.append((prompt + reply, [LEAST_WEIGHT] * len(prompt) + [1.0] * len(reply)))
        pool.sort(key=lambda row: len(row[0]))
        groups: list[list[tuple[list[int], list[float]]]] = [[]]
        for row in pool:
            if (len(groups[-1]) + 1) * len(row[0]) > tokens:
                groups.append([])
            groups[-1].append(row)
        for at in torch.randperm(len(groups)).tolist():
            yield batch_of(groups[at], max(len(ids) for ids, _ in groups[at]) - 1, 0)
