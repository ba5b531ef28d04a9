"""LangChain: a retriever over a Searcher, and a document compressor over a cross-encoder.

Both may be shared by threads; their async methods run in a thread of the loop's executor.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import ConfigDict, Field

from search.errors import MissingExtra
from search.integrations import hit_metadata, passage_id, rerank, run_search
from search.rerank import CrossEncoder
from search.searcher import Searcher

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
        Callbacks,
    )
    from langchain_core.documents import BaseDocumentCompressor, Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables.config import run_in_executor
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "langchain_core", "langchain", "the integration") from None


class TwoStageRetriever(BaseRetriever):
    """The documents that answer a query, best first, each as its best passage.

    `k` is how many (None: as the settings say); `search_kwargs` are arguments of `Searcher.search`,
    where `filters` may be text, such as `["year>=2020"]`. What is given to `invoke` wins over both.
    """

    searcher: Searcher
    k: int | None = None
    search_kwargs: dict[str, Any] = Field(default_factory=dict)

    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,
        k: int | None = None,
        **search_kwargs: Any,
    ) -> list[Document]:
        arguments = {"limit": self.k, **self.search_kwargs, **search_kwargs}
        if k is not None:
            arguments["limit"] = k
        ranking = run_search(self.searcher, query, arguments)
        return [
            Document(
                id=passage_id(hit), page_content=hit.passage, metadata=hit_metadata(ranking, hit)
            )
            for hit in ranking.hits
        ]

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **search_kwargs: Any
    ) -> list[Document]:
        """LangChain's own passes no arguments on."""
        search, manager = self._get_relevant_documents, run_manager.get_sync()
        return await run_in_executor(None, search, query, run_manager=manager, **search_kwargs)


class CrossEncoderRerank(BaseDocumentCompressor):
    """The documents of any retriever in the order of a cross-encoder, the best `top_n` of them.

    The title, read above the text, is the metadata field `title_field`; None: there is none.
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    encoder: CrossEncoder = Field(default_factory=CrossEncoder)
    top_n: int | None = Field(default=None, ge=1)
    title_field: str | None = "title"

    def compress_documents(
        self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None
    ) -> list[Document]:
        """Copies of the documents, best first; in their order as given where the model fails."""
        texts = [(self._title(document), document.page_content) for document in documents]
        return [
            documents[i].model_copy(update={"metadata": {**documents[i].metadata, **found}})
            for i, found in rerank(self.encoder, query, texts, self.top_n)
        ]

    def _title(self, document: Document) -> str:
        return str(document.metadata.get(self.title_field or "") or "")
