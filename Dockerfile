# Two images: the target `web` answers and collects, without TensorFlow; the last one, `full`, also trains and retrains.
#
#     docker build --target web -t catdog-web .
#     docker build -t catdog .
#     docker run -p 5000:5000 -e CATDOG_API_KEY=… -v catdog:/var/lib/catdog catdog
#
# Every package is installed in the version that requirements.txt locks; a build that took another one fails.

ARG PYTHON_VERSION=3.11

FROM docker.io/library/python:${PYTHON_VERSION}-slim AS packages
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv --without-pip /opt/catdog
# Packages before code, so that a change of the code installs none of them again. Their own tests, a tenth of it, stay out.
COPY pyproject.toml requirements.txt deploy/pins.py ./
RUN python pins.py lock >lock.txt \
    && python pins.py select postgres >web.txt \
    && pip --python /opt/catdog/bin/python install --requirement web.txt --constraint lock.txt \
    && python pins.py check /opt/catdog \
    && find /opt/catdog -type d -name tests -prune -exec rm -r {} +

FROM packages AS full-packages
RUN python pins.py select postgres train >full.txt \
    && pip --python /opt/catdog/bin/python install --requirement full.txt --constraint lock.txt \
    && python pins.py check /opt/catdog

FROM packages AS wheel
COPY README.md LICENSE hatch_build.py ./
COPY src src
RUN pip wheel --no-deps --wheel-dir /wheel .

# Of OpenVINO it keeps what runs a network on the processor: graphics and neural processors, which a container rarely sees,
# and readers of other frameworks' models take half of it.
FROM packages AS web-installed
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/catdog/bin/python install --no-deps /wheel/*.whl \
    && cd /opt/catdog/lib/python*/site-packages/openvino \
    && rm -r include libs/cache.json libs/libopenvino_intel_gpu_plugin.so libs/libopenvino_intel_npu_plugin.so \
    && find libs -name '*_frontend.so*' ! -name '*_ir_frontend.so*' -delete

FROM full-packages AS full-installed
COPY --from=wheel /wheel /wheel
RUN pip --python /opt/catdog/bin/python install --no-deps /wheel/*.whl

# What runs: no compiler, no build files, and a user that can write nothing but its home and /tmp.
FROM docker.io/library/python:${PYTHON_VERSION}-slim AS base
RUN groupadd --gid 10001 catdog \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/catdog --shell /usr/sbin/nologin catdog \
    && install --directory --owner catdog --group catdog /var/lib/catdog
# PORT also makes the server listen on every address, and not on loopback alone.
ENV PATH=/opt/catdog/bin:$PATH PYTHONUNBUFFERED=1 CATDOG_HOME=/var/lib/catdog PORT=5000
WORKDIR /var/lib/catdog
USER 10001:10001
EXPOSE 5000
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ[\"PORT\"]}/readyz', timeout=4)"]
CMD ["catdog", "serve"]

FROM base AS web
COPY --from=web-installed /opt/catdog /opt/catdog

FROM base AS full
COPY --from=full-installed /opt/catdog /opt/catdog
