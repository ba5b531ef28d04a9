"""The model card that goes with the weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from training.lists import TrainingList

HEAD = """---
language: en
library_name: transformers
pipeline_tag: text-classification
tags: [cross-encoder, reranker]
---

# {name}

A cross-encoder for reranking: it reads a query and a passage together and gives one logit,
higher for a better answer. The passage is `title + "\\n" + text`, or the text alone where there is
no title. Input: {positions} tokens at most. `rerank.json` beside the weights, if present, says how
its logit and the first stage's scores become the log-odds that order the documents.

## Made with

```
{command}
```

{origins}
- Lists of {size} passages: {lists} ({kinds})

Negatives come from the first stage: its head, its tail, the same topic's other documents, and
random ones. The loss is listwise against the teachers' opinion (the first stage's and those named
above) mixed with the label, plus a pointwise part; the weights are a running average, half of it
from before the keyword traps of the last stage.

## Data

Each set keeps its own licence; none of its text is part of this model's folder.
"""


def write_card(
    out: Path,
    command: str,
    origins: Mapping[str, str],
    positions: int,
    lists: Sequence[TrainingList],
    folders: Sequence[Path],
) -> None:
    """`README.md` in the model's folder: how it was made, and each data set's own notice.

    `origins` says which models it comes from, by the part that each played.
    """
    kinds = Counter(one.kind for one in lists)
    text = HEAD.format(
        name=out.resolve().name,
        positions=positions,
        command=command,
        origins="\n".join(f"- {role}: {model}" for role, model in origins.items() if model),
        size=len(lists[0].passages),
        lists=f"{len(lists):,}",
        kinds=", ".join(f"{kind} {count:,}" for kind, count in kinds.most_common()),
    )
    for folder in folders:
        text += f"\n### {folder.resolve().name}\n\n{_notice(folder)}\n"
    (out / "README.md").write_text(text, encoding="utf-8")


def _notice(folder: Path) -> str:
    """The lines of a data set's NOTICE that name its sources, authors and licence."""
    path = folder / "NOTICE"
    if not path.is_file():
        return "(This folder has no NOTICE: add the data's source and licence here.)"
    lines = path.read_text(encoding="utf-8").splitlines()
    telling = ("Dataset:", "Licence", "licensed under", "released under")
    kept = lines[:1] + [
        line
        for line in lines[1:]
        if line.startswith("  https://") or any(word in line for word in telling)
    ]
    return "\n".join(f"{line.strip()}  " for line in kept)
