#!/bin/sh
# One of the three: a replica of whom the Sentinels name, and the master when no Sentinel knows one and this is the first of HOSTS.
set -eu
master=
for host in $HOSTS; do
    # A Sentinel that does not answer has no opinion.
    found=$(timeout 2 redis-cli -h "$host" -p "$SENTINEL_PORT" --raw sentinel get-master-addr-by-name "$MASTER" 2>/dev/null | head -n 1) || found=
    case $found in "" | *" "*) ;; *) master=$found && break ;; esac
done
first=${HOSTS%% *}
set -- --port "$REDIS_PORT" --bind "$BIND" --protected-mode no --replica-announce-ip "$HOST" --replica-announce-port "$REDIS_PORT" \
    --requirepass "$REDIS_PASSWORD" --masterauth "$REDIS_PASSWORD" --dir "$DIRECTORY" --save "" --appendonly no \
    --maxmemory "$MEMORY" --maxmemory-policy volatile-lru
if [ "${master:-$first}" != "$HOST" ]; then
    set -- "$@" --replicaof "${master:-$first}" "$REDIS_PORT"
fi
exec redis-server "$@"
