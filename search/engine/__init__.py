"""Token sequences in, float32 rows out, in input order; safe under threads.

`run` holds what every engine shares: batches, order, and what happens when memory runs out. Below
it are two ways to run a model: `openvino_model` on the processor (its graph is built from the
safetensors by `graph`, without torch) and `torch_model` on a GPU, or for an architecture that the
graph does not know. `placement` chooses between them. Only those modules import openvino or torch.
"""

from search.engine.run import Engine, Head, open_engine

__all__ = ["Engine", "Head", "open_engine"]
