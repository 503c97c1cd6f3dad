# The server, and its guard. It runs `berth serve` and `berth guard` only: the sandbox images are made by `berth up`, or by docker-compose.yml.
# Both bases may be any Debian; where the first has no Node 24, the npm registry's is taken.
ARG NODE=node:24-bookworm-slim
ARG BASE=debian:bookworm-slim

FROM ${NODE} AS build
# A certificate authority (PEM) to trust while building, for networks that inspect TLS.
ARG EXTRA_CA=
WORKDIR /app
COPY package.json package-lock.json ./
RUN set -eu; \
    if [ -n "$EXTRA_CA" ]; then export NODE_EXTRA_CA_CERTS=/tmp/ca.pem; printf '%s\n' "$EXTRA_CA" > /tmp/ca.pem; fi; \
    if ! command -v npm > /dev/null; then apt-get update; apt-get install -y --no-install-recommends npm; fi; \
    npm ci --omit=dev --ignore-scripts --no-audit --no-fund; \
    if [ "$(node --print 'Number(process.versions.node.split(".")[0]) >= 24')" = true ]; then \
      cp "$(command -v node)" /usr/local/bin/berth-node; \
    else \
      name="node-linux-$(node --print process.arch)"; \
      npm install --prefix /opt --no-save --no-audit --no-fund "$name@24"; \
      cp "/opt/node_modules/$name/bin/node" /usr/local/bin/berth-node; \
    fi; \
    rm -rf node_modules/.bin

FROM ${BASE}
COPY --from=build /usr/local/bin/berth-node /usr/local/bin/node
COPY --from=build /app /app
COPY LICENSE /app/
COPY config /app/config
COPY src /app/src
RUN install -d -o 65532 -g 65532 -m 700 /var/lib/berth; install -d -o 65532 -g 65532 -m 750 /run/berth
ENV NODE_ENV=production \
    BERTH_SERVER__HOST=0.0.0.0 \
    BERTH_SERVER__STATE_DIR=/var/lib/berth
USER 65532:65532
WORKDIR /app
VOLUME /var/lib/berth
EXPOSE 3000
HEALTHCHECK --interval=15s --timeout=5s --start-period=10s CMD ["node", "--eval", "fetch(`http://127.0.0.1:${process.env.BERTH_SERVER__PORT || 3000}/health`).then(({ ok }) => process.exit(ok ? 0 : 1), () => process.exit(1))"]
ENTRYPOINT ["node", "/app/src/main.ts"]
CMD ["serve"]
