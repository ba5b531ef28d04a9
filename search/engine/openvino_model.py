"""A model on the processor, by OpenVINO: a pool of requests over one compiled graph."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
from numpy.typing import NDArray

from search.engine.batches import Batch
from search.engine.graph import BertGraph, Graph, ov
from search.engine.modernbert import ModernBertGraph
from search.engine.placement import Placement
from search.errors import ModelError
from search.models.folder import read_json, weight_files
from search.models.weights import Weights

# Streams run side by side, each on its share of the cores; more of them hold more in memory.
MAX_STREAMS = 4
PRECISIONS = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoModel:
    """Built from the safetensors in `folder`; threads take turns at its requests."""

    max_padding = 0.1
    max_batch_tokens = 4096

    def __init__(self, folder: Path, head: str, placement: Placement) -> None:
        self.placement = placement
        self.parallel = min(MAX_STREAMS, os.cpu_count() or 1)
        self._weights = Weights(weight_files(folder))
        try:
            graph = _graph(read_json(folder / "config.json"), self._weights)
            model = graph.build(head)
        except ModelError as error:
            raise ModelError(f"{folder}: {error}") from None
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ModelError(
                f"{folder}: config.json and the weights do not fit together ({reason})"
            ) from None
        self._words = graph.words
        self._compiled = ov.Core().compile_model(
            model,
            "CPU",
            {
                "INFERENCE_PRECISION_HINT": PRECISIONS[placement.precision],
                "NUM_STREAMS": str(self.parallel),
                "PERFORMANCE_HINT": "THROUGHPUT",
            },
        )
        self._idle: SimpleQueue[ov.InferRequest] = SimpleQueue()
        for _ in range(self.parallel):
            self._idle.put(self._compiled.create_infer_request())
        self._workers = ThreadPoolExecutor(self.parallel, "openvino")

    def submit(self, batch: Batch) -> Callable[[], NDArray[np.float32]]:
        """Queue a batch; the result waits for it and gives its rows."""
        return self._workers.submit(self._run, batch).result

    def release_memory(self) -> None:
        """Nothing is held between batches."""

    def _run(self, batch: Batch) -> NDArray[np.float32]:
        request = self._idle.get()
        try:
            inputs = {
                "embedded": self._weights.rows(self._words, batch.ids),
                "type_ids": batch.type_ids,
                "lengths": batch.lengths,
            }
            request.infer(inputs, share_inputs=True)
            rows: NDArray[np.float32] = request.get_output_tensor(0).data.copy()
            return rows
        finally:
            self._idle.put(request)


def _graph(config: dict[str, Any], weights: Weights) -> Graph:
    kind = ModernBertGraph if config["model_type"] == "modernbert" else BertGraph
    return kind(config, weights)
