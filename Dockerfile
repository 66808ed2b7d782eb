# bearerd's image. docs/containers.md says how to pin the base by its digest, and how a build reaches a package index of
# your own. What it needs for that comes as the secrets `pip` and `ca`, of which nothing stays in a layer.
ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_CACHE_DIR=/var/cache/pip PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_PROGRESS_BAR=off PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/bearerd
COPY locks/build.txt locks/runtime.txt locks/
RUN --mount=type=cache,target=/var/cache/pip --mount=type=secret,id=pip,target=/etc/pip.conf --mount=type=secret,id=ca \
    /opt/build/bin/pip install --no-compile --no-deps --require-hashes -r locks/build.txt \
 && /opt/build/bin/pip --python /opt/bearerd/bin/python install --no-compile --no-deps --require-hashes --only-binary :all: -r locks/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY docs/troubleshooting docs/troubleshooting
COPY proxy proxy
COPY scripts/image_compile.py scripts/
# Compiled once, here: a read-only root keeps nothing, and without this each start compiles hundreds of modules, those of
# the standard library among them, which slim bases ship without. No start looks at the date of a source.
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/build/bin/pip --python /opt/bearerd/bin/python install --no-compile --no-deps --no-index dist/*.whl \
 && rm -f /opt/bearerd/bin/activate* /opt/bearerd/bin/Activate* \
 && PYTHONPYCACHEPREFIX=/opt/bearerd/compiled /opt/bearerd/bin/python -P scripts/image_compile.py

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="bearerd" \
      org.opencontainers.image.description="One local address for your brokers: fresh bearer tokens, and only the calls you allow." \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.source="https://github.com/bearerd/bearerd" \
      org.opencontainers.image.documentation="https://github.com/bearerd/bearerd/blob/main/docs/containers.md"
# Not "proxy": Debian has a user of that name. Who gets in finds nothing to install more with.
RUN groupadd --gid 10001 app \
 && useradd --uid 10001 --gid app --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app \
 && install -d -o app -g app -m 0700 /var/lib/bearerd \
 && install -d -m 0755 /etc/bearerd \
 && rm -rf /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/pip* /usr/local/lib/python3*/ensurepip \
           /usr/lib/python3*/ensurepip /usr/share/python-wheels
COPY --from=build /opt/bearerd /opt/bearerd
ENV PATH=/opt/bearerd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONPYCACHEPREFIX=/opt/bearerd/compiled \
    PYTHONUNBUFFERED=1 \
    BEARERD_CONFIG=/etc/bearerd/config.yaml \
    STATE_DIRECTORY=/var/lib/bearerd
USER 10001:10001
WORKDIR /var/lib/bearerd
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s --retries=3 CMD ["bearerd", "healthcheck"]
ENTRYPOINT ["bearerd"]
CMD ["serve"]
