ARG BASE_IMAGE=python:3.13-slim-bookworm

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python3 -m venv /opt/build && python3 -m venv --without-pip /opt/bearerd
COPY locks/build.txt locks/runtime.txt locks/
RUN /opt/build/bin/pip install --require-hashes -r locks/build.txt \
 && /opt/build/bin/pip --python /opt/bearerd/bin/python install --require-hashes --only-binary :all: -r locks/runtime.txt
COPY pyproject.toml README.md LICENSE ./
COPY proxy proxy
RUN /opt/build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/build/bin/pip --python /opt/bearerd/bin/python install --no-deps dist/*.whl

FROM ${BASE_IMAGE}
# Not "proxy": Debian has a user of that name.
RUN groupadd --gid 10001 app \
 && useradd --uid 10001 --gid app --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin app \
 && install -d -o app -g app -m 0700 /var/lib/bearerd \
 && install -d -m 0755 /etc/bearerd
COPY --from=build /opt/bearerd /opt/bearerd
ENV PATH=/opt/bearerd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
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
