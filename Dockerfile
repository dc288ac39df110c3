# docker build -t orbweaver .
# docker run --init -p 127.0.0.1:3000:3000 -e API_KEYS=me:$(openssl rand -hex 16) -v orbweaver:/data orbweaver
#
# Inside a container the service has to listen on all addresses, and so it does not start without API_KEYS
# (name:secret, the secret of 16 characters or more). The database lives in the volume /data, which one container at a
# time may use; with DATABASE_URL set, that database is used instead and any number of containers may share it.
# `docker stop -t 90` leaves the database the time for an orderly end.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
COPY clients/typescript/package.json clients/typescript/
RUN npm ci --no-audit --no-fund
COPY tsconfig.json ./
COPY src src
RUN npm run build && npm prune --omit=dev

FROM node:24-bookworm-slim
# What script spiders are shut in with, where the container's runtime allows it; GET /engine tells.
RUN apt-get update && apt-get install -y --no-install-recommends bubblewrap && rm -rf /var/lib/apt/lists/*
ENV NODE_ENV=production HOST=0.0.0.0 PORT=3000 DATA_DIR=/data
# glibc keeps for itself what V8's compiler threads free, 60 MiB in nine arenas (malloc_info after a crawl); so it gives back
# what is free at an arena's end, and has two arenas.
ENV MALLOC_TRIM_THRESHOLD_=1048576 MALLOC_ARENA_MAX=2
WORKDIR /app
COPY --from=build /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
COPY migrations migrations
# PostgreSQL does not run as root, and nothing here needs to.
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 3000
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s --retries=3 \
  CMD ["node", "-e", "fetch('http://127.0.0.1:' + process.env.PORT + '/healthz').then((r) => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# A heap that may not grow beyond 1 GiB is collected at 1.6 times what is live; one without a limit, at four times.
CMD ["node", "--max-old-space-size=1024", "--max-semi-space-size=8", "dist/server.js"]
