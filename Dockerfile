FROM python:3.11-slim-bookworm AS python

# Keras plans networks on OpenVINO. A plan computes nothing: it needs neither OpenVINO's devices nor its file readers.
FROM python AS api-packages
COPY requirements/api.txt /requirements.txt
RUN python -m venv --without-pip /venv \
 && python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
      --only-binary :all: --requirement /requirements.txt \
 && cd /venv/lib/python3.11/site-packages \
 && rm openvino/libs/libopenvino_intel_[gn]pu_plugin.so openvino/libs/cache.json openvino/libs/*_frontend.so* \
 && find . -type d -name tests -prune -exec rm -r {} +

FROM python AS worker-packages
COPY requirements/worker.txt /requirements.txt
RUN python -m venv --without-pip /venv \
 && python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
      --only-binary :all: --requirement /requirements.txt

FROM python AS worker-gpu-packages
COPY requirements/worker-gpu.txt /requirements.txt
RUN python -m venv --without-pip /venv \
 && python -m pip --python /venv/bin/python install --no-cache-dir --disable-pip-version-check --require-hashes \
      --only-binary :all: --requirement /requirements.txt

# Data is written to volumes. A new volume takes over the owner of the folder that it is mounted on.
FROM python AS service
LABEL org.opencontainers.image.title=Trainyard org.opencontainers.image.version=0.2.0 \
      org.opencontainers.image.licenses=Apache-2.0
RUN useradd --uid 10001 --create-home trainyard \
 && mkdir /app /data /datasets \
 && chown trainyard:trainyard /data /datasets
WORKDIR /app
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 TRAINYARD_DATA_DIR=/data TRAINYARD_DATASETS_DIR=/datasets
COPY shared shared
COPY pyproject.toml .

FROM service AS api
COPY --from=api-packages /venv /venv
COPY api api
COPY docs/problems.md docs/
COPY recipes recipes
RUN python -m compileall -q .
USER trainyard
ENV TRAINYARD_HOST=0.0.0.0 TRAINYARD_PORT=8000
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-c", "import os, ssl, urllib.request as http; scheme = 'https' if os.environ.get('TRAINYARD_TLS_CERTIFICATE') else 'http'; http.urlopen(scheme + '://127.0.0.1:8000/health/ready', timeout=4, context=ssl._create_unverified_context())"]
CMD ["python", "-m", "api"]

FROM service AS worker-code
COPY worker worker
RUN python -m compileall -q .
USER trainyard
ENV TRAINYARD_ALIVE_FILE=/tmp/alive
HEALTHCHECK --interval=10s --timeout=5s --start-period=120s --retries=3 \
  CMD ["sh", "-c", "find /tmp/alive -newermt '-30 seconds' | grep -q ."]
CMD ["python", "-m", "worker"]

FROM worker-code AS worker
COPY --from=worker-packages /venv /venv

FROM worker-code AS worker-gpu
COPY --from=worker-gpu-packages /venv /venv
