# The models as a service: docker build -t two-stage-search . && docker run -p 8090:8090 two-stage-search
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY config config
COPY ingest ingest
COPY search search
RUN pip install --no-cache-dir --constraint constraints.txt ".[serve]"
EXPOSE 8090
ENTRYPOINT ["python", "-m", "search.serve"]
CMD ["--host", "0.0.0.0", "--port", "8090"]
