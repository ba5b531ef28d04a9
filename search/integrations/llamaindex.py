"""LlamaIndex: a retriever over a Searcher, and a node postprocessor over a cross-encoder.

Both may be shared by threads; their async methods run in a thread.
"""

from __future__ import annotations

import asyncio
from typing import Any

from search.errors import InputError, MissingExtra
from search.integrations import hit_metadata, passage_id, rerank, run_search
from search.rerank import CrossEncoder
from search.searcher import Searcher
from search.types import Hit, Ranking

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.bridge.pydantic import Field
    from llama_index.core.callbacks import CallbackManager
    from llama_index.core.postprocessor.types import BaseNodePostprocessor
    from llama_index.core.schema import (
        NodeRelationship,
        NodeWithScore,
        QueryBundle,
        RelatedNodeInfo,
        TextNode,
    )
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "llama_index", "llamaindex", "the integration") from None

READ_BY_MODELS = ("title", "source", "heading")
"""Of our metadata; a language model is shown neither ranks nor scores."""


class TwoStageRetriever(BaseRetriever):
    """The documents that answer a query, best first, each as a node with its best passage.

    `similarity_top_k` is how many (None: as the settings say); `search_kwargs` are arguments of
    `Searcher.search`, where `filters` may be text, such as `["year>=2020"]`.
    """

    def __init__(
        self,
        searcher: Searcher,
        similarity_top_k: int | None = None,
        callback_manager: CallbackManager | None = None,
        **search_kwargs: Any,
    ) -> None:
        super().__init__(callback_manager)
        self.searcher = searcher
        self.search_kwargs = {"limit": similarity_top_k, **search_kwargs}

    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        ranking = run_search(self.searcher, query_bundle.query_str, self.search_kwargs)
        return [NodeWithScore(node=_node(ranking, hit), score=hit.score) for hit in ranking.hits]

    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return await asyncio.to_thread(self._retrieve, query_bundle)


class CrossEncoderRerank(BaseNodePostprocessor):
    """The nodes of any retriever in the order of a cross-encoder, the best `top_n` of them.

    The title, read above the text, is the metadata field `title_field`; None: there is none.
    """

    encoder: CrossEncoder = Field(default_factory=CrossEncoder, exclude=True)
    top_n: int | None = Field(default=None, ge=1)
    title_field: str | None = "title"

    @classmethod
    def class_name(cls) -> str:
        return "CrossEncoderRerank"

    def _postprocess_nodes(
        self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None
    ) -> list[NodeWithScore]:
        """Copies of the nodes, best first; in their order as given where the model fails."""
        if query_bundle is None:
            raise InputError("reranking needs the query: pass query_str=… or query_bundle=…")
        texts = [(self._title(found), found.node.get_content()) for found in nodes]
        ranked = rerank(self.encoder, query_bundle.query_str, texts, self.top_n)
        return [_reranked(nodes[i], metadata) for i, metadata in ranked]

    def _title(self, found: NodeWithScore) -> str:
        return str(found.node.metadata.get(self.title_field or "") or "")


def _node(ranking: Ranking, hit: Hit) -> TextNode:
    metadata = hit_metadata(ranking, hit)
    unread = [name for name in metadata if name not in (*READ_BY_MODELS, *hit.metadata)]
    return TextNode(
        id_=passage_id(hit),
        text=hit.passage,
        metadata=metadata,
        excluded_embed_metadata_keys=unread,
        excluded_llm_metadata_keys=unread,
        relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=hit.id)},
    )


def _reranked(found: NodeWithScore, metadata: dict[str, Any]) -> NodeWithScore:
    node = found.node
    hidden = {
        name: sorted({*getattr(node, name), *metadata})
        for name in ("excluded_embed_metadata_keys", "excluded_llm_metadata_keys")
    }
    copy = node.model_copy(update={"metadata": {**node.metadata, **metadata}, **hidden})
    score = metadata["probability"]
    return NodeWithScore(node=copy, score=found.score if score is None else score)
