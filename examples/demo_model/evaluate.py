"""Measures the demo model on held-out documents.

    python evaluate.py ../../structgen/assets/demo           # through structgen, with schemas
    python evaluate.py ../../structgen/assets/demo --forced  # keys and punctuation are given

Forced evaluation writes the answer's keys and punctuation itself and lets the model produce each
value after its own earlier ones; of an enum or boolean it takes the likeliest of the allowed
spellings. That is what a JSON Schema constraint does, up to which tokens spell the structure.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import documents
import torch
from documents import Sample, Span
from transformers import AutoModelForCausalLM, AutoTokenizer

Json = Any


@dataclass
class Tally:
    """Right and counted values by what they were: field kind, document kind, seen or unseen key."""

    rows: dict[tuple[str, str], list[int]]
    whole: int = 0
    documents: int = 0

    @classmethod
    def empty(cls) -> Tally:
        return cls(defaultdict(lambda: [0, 0]))

    def add(self, sample: Sample, verdicts: Iterable[bool]) -> None:
        verdicts = list(verdicts)
        self.documents += 1
        self.whole += all(verdicts)
        for span, right in zip(sample.spans, verdicts, strict=True):
            leaf = span.leaf
            sort = "null" if leaf.value is None else leaf.sort
            seen = "unseen key" if leaf.unseen_key else "seen key"
            for row in (
                ("all", "values"),
                ("field", sort),
                ("document", sample.kind),
                ("key", seen),
            ):
                self.rows[row][0] += right
                self.rows[row][1] += 1

    def accuracy(self) -> float:
        right, counted = self.rows["all", "values"]
        return right / max(counted, 1)

    def report(self) -> str:
        lines = [
            f"values right: {self.accuracy():.2%}; "
            f"whole answers right: {self.whole / self.documents:.2%}"
        ]
        for (what, name), (right, counted) in sorted(self.rows.items()):
            lines.append(f"{what:9} {name:20} {right / counted:7.1%} of {counted}")
        return "\n".join(lines)


def same(a: Json, b: Json) -> bool:
    """Equal as JSON: 1 and 1.0 are, 1 and true are not."""
    return (type(a) is type(b) and a == b) or (_number(a) and _number(b) and a == b)


def _number(x: Json) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool)


def opening(span: Span) -> str:
    """A value's quote or bracket, which structure gives away unless null is allowed too."""
    leaf = span.leaf
    if "null" in leaf.schema.get("type", ()):
        return ""
    return {str: '"', list: "["}.get(type(leaf.value), "")


def options(span: Span) -> list[Json] | None:
    schema = span.leaf.schema
    if "enum" in schema:
        return schema["enum"]
    kind = schema["type"]
    if "boolean" in ([kind] if isinstance(kind, str) else kind):
        return [True, False] if kind == "boolean" else [True, False, None]
    return None


class Forced:
    """Batched greedy decoding of values between given pieces of structure."""

    def __init__(self, folder: Path, device: str, batch: int = 32) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self.model = (
            AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).to(device).eval()
        )
        self.device, self.batch = device, batch

    def ids(self, prompt: str, answer: str) -> list[int]:
        encode = self.tokenizer.backend_tokenizer.encode
        return encode(prompt).ids + encode(answer, add_special_tokens=False).ids

    def padded(self, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), self.tokenizer.pad_token_id)
        mask = torch.zeros_like(ids)
        for n, row in enumerate(rows):
            ids[n, width - len(row) :] = torch.tensor(row)
            mask[n, width - len(row) :] = 1
        return ids.to(self.device), mask.to(self.device)

    @torch.inference_mode()
    def continuations(self, rows: list[list[int]], limit: int) -> list[str]:
        texts = ["" for _ in rows]
        by_length = sorted(range(len(rows)), key=lambda n: len(rows[n]))
        for start in range(0, len(rows), self.batch):
            part = by_length[start : start + self.batch]
            ids, mask = self.padded([rows[n] for n in part])
            out = self.model.generate(
                ids,
                attention_mask=mask,
                max_new_tokens=limit,
                do_sample=False,
                pad_token_id=self.tokenizer.pad_token_id,
            )
            new = self.tokenizer.batch_decode(out[:, ids.shape[1] :], skip_special_tokens=True)
            for n, text in zip(part, new, strict=True):
                texts[n] = text
        return texts

    @torch.inference_mode()
    def next_logits(self, rows: list[list[int]]) -> torch.Tensor:
        """Logits after each row: ``[rows, vocabulary]``."""
        found = []
        for start in range(0, len(rows), self.batch):
            ids, mask = self.padded(rows[start : start + self.batch])
            positions = (mask.cumsum(1) - 1).clamp(min=0)
            out = self.model(
                input_ids=ids, attention_mask=mask, position_ids=positions, logits_to_keep=1
            )
            found.append(out.logits[:, -1].cpu())
        return torch.cat(found)

    def answer(self, samples: list[Sample]) -> list[list[Json]]:
        """The value the model gives for every span of every sample."""
        written = ["" for _ in samples]
        at = [0 for _ in samples]
        values: list[list[Json]] = [[] for _ in samples]
        for turn in range(max(len(s.spans) for s in samples)):
            free: list[int] = []
            scored: dict[int, list[Json]] = {}
            for n, s in enumerate(samples):
                if turn >= len(s.spans):
                    continue
                span = s.spans[turn]
                edge = 1 if isinstance(span.leaf.value, (str, list)) else 0
                written[n] += s.text[at[n] : span.start - edge]
                at[n] = span.end + edge
                allowed = options(span)
                if allowed is None:
                    free.append(n)
                else:
                    scored[n] = allowed
            found = self.free_values(
                [(samples[n], written[n], samples[n].spans[turn]) for n in free]
            )
            found_by = dict(zip(free, found, strict=True)) | self.likeliest(
                samples, written, scored
            )
            for n, value in found_by.items():
                values[n].append(value)
                written[n] += json.dumps(value, ensure_ascii=False)
        return values

    def free_values(self, asked: list[tuple[Sample, str, Span]]) -> list[Json]:
        if not asked:
            return []
        rows = [self.ids(s.prompt, text + opening(span)) for s, text, span in asked]
        longest = max(
            len(self.ids("", json.dumps(span.leaf.value, ensure_ascii=False)))
            for _, _, span in asked
        )
        texts = self.continuations(rows, longest + 4)
        found = []
        for text, (_, _, span) in zip(texts, asked, strict=True):
            try:
                value, _ = json.JSONDecoder().raw_decode((opening(span) + text).lstrip())
            except ValueError:
                value = "(no value)"
            found.append(value)
        return found

    def likeliest(
        self, samples: list[Sample], written: list[str], asked: dict[int, list[Json]]
    ) -> dict[int, Json]:
        """Of each sample's options the one that greedy decoding takes if only they are allowed."""
        left: dict[int, list[tuple[list[int], Json]]] = {}
        for n, allowed in asked.items():
            ends = [written[n] + json.dumps(option, ensure_ascii=False) + "," for option in allowed]
            left[n] = [
                (self.ids(samples[n].prompt, end)[:-1], option)
                for end, option in zip(ends, allowed, strict=True)
            ]
        while open_ := [n for n, rows in left.items() if len(rows) > 1]:
            agreed = {n: shared(row for row, _ in left[n]) for n in open_}
            logits = self.next_logits([left[n][0][0][: agreed[n]] for n in open_])
            for n, scores in zip(open_, logits, strict=True):
                at = agreed[n]
                best = max({row[at] for row, _ in left[n]}, key=lambda token: scores[token].item())
                left[n] = [(row, option) for row, option in left[n] if row[at] == best]
        return {n: rows[0][1] for n, rows in left.items()}


def shared(rows: Iterable[list[int]]) -> int:
    """Length of the common beginning."""
    count = 0
    for column in zip(*rows, strict=False):
        if len(set(column)) > 1:
            break
        count += 1
    return count


def forced(folder: Path, samples: list[Sample], device: str) -> Tally:
    tally = Tally.empty()
    for s, values in zip(samples, Forced(folder, device).answer(samples), strict=True):
        tally.add(s, (same(v, span.leaf.value) for v, span in zip(values, s.spans, strict=True)))
    return tally


def leaves(node: Json) -> Iterable[Json]:
    """Values in the order of the spans: lists of objects are structure, other lists values."""
    if isinstance(node, dict):
        for inner in node.values():
            yield from leaves(inner)
    elif isinstance(node, list) and any(isinstance(inner, dict) for inner in node):
        for inner in node:
            yield from leaves(inner)
    else:
        yield node


def constrained(folder: Path, samples: list[Sample]) -> str:
    """The same through ``structgen``, and how often answers are valid with and without schema."""
    import jsonschema

    import structgen as sg

    llm = sg.LLM(str(folder))
    tally, valid = Tally.empty(), {"with": 0, "without": 0}
    parsed_without = 0
    for s in samples:
        out = llm.generate([s.prompt], schema=s.schema, max_tokens=512, temperature=0.0)[0]
        given = list(leaves(out.parsed)) if out.finish_reason == "stop" else []
        given += ["(no value)"] * (len(s.spans) - len(given))
        tally.add(s, (same(v, span.leaf.value) for v, span in zip(given, s.spans, strict=False)))
        validator = jsonschema.Draft202012Validator(s.schema)
        valid["with"] += out.finish_reason == "stop" and validator.is_valid(out.parsed)
        free = llm.generate([s.prompt], max_tokens=512, temperature=0.0)[0]
        try:
            content = json.loads(free.text)
        except ValueError:
            continue
        parsed_without += 1
        valid["without"] += validator.is_valid(content)
    shares = {name: count / len(samples) for name, count in valid.items()}
    return (
        f"valid with the constraint: {shares['with']:.2%}; without: {shares['without']:.2%} "
        f"({parsed_without / len(samples):.2%} are JSON)\n{tally.report()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("--forced", action="store_true")
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    samples = [
        documents.sample(f"evaluation {n}", "heldout", plain=True) for n in range(args.documents)
    ]
    if args.forced:
        print(forced(args.model, samples, args.device).report())
    else:
        print(constrained(args.model, samples))


if __name__ == "__main__":
    main()
