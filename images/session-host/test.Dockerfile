# Fuzzes the session host for FUZZ_SECONDS and drives a build with sanitizers through its protocol; builds if all is well:
#   docker build -f test.Dockerfile --build-arg BASE=debian:12 .
ARG BASE
FROM ${BASE}
RUN apt-get update \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
      bash gcc libc6-dev linux-libc-dev make procps python3 \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /build
RUN chown 1000:1000 /build
USER 1000:1000
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
COPY --chown=1000:1000 Makefile ./
COPY --chown=1000:1000 src ./src
COPY --chown=1000:1000 test ./test
RUN make build/checked build/fuzz
ARG FUZZ_SECONDS=10
RUN make check SECONDS=${FUZZ_SECONDS}
