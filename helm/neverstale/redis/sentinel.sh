#!/bin/sh
# Watches the master that another Sentinel names, else the first of HOSTS; two of three decide. Its file is its own to write.
set -eu
master=
for host in $HOSTS; do
    [ "$host" = "$HOST" ] && continue
    found=$(timeout 2 redis-cli -h "$host" -p "$SENTINEL_PORT" --raw sentinel get-master-addr-by-name "$MASTER" 2>/dev/null | head -n 1) || found=
    case $found in "" | *" "*) ;; *) master=$found && break ;; esac
done
cat > "$DIRECTORY/sentinel.conf" <<END
port $SENTINEL_PORT
bind $BIND
protected-mode no
sentinel resolve-hostnames yes
sentinel announce-hostnames yes
sentinel announce-ip $HOST
sentinel announce-port $SENTINEL_PORT
sentinel monitor $MASTER ${master:-${HOSTS%% *}} $REDIS_PORT 2
sentinel auth-pass $MASTER $REDIS_PASSWORD
sentinel down-after-milliseconds $MASTER 5000
sentinel failover-timeout $MASTER 30000
END
exec redis-server "$DIRECTORY/sentinel.conf" --sentinel
