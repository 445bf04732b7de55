#!/bin/sh
# Replaces the parts of the official image's entrypoint that the compose file needs: it creates the
# database and its password on the first start. The server is the newest version in Debian.
set -eu
PATH="$(ls -d /usr/lib/postgresql/*/bin | sort -V | tail -1):$PATH"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    password=$(mktemp)
    if [ -n "${POSTGRES_PASSWORD_FILE:-}" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
    printf '%s\n' "$POSTGRES_PASSWORD" > "$password"
    initdb --pgdata "$PGDATA" --username "$POSTGRES_USER" --pwfile "$password" \
        --auth scram-sha-256 --encoding UTF8 --locale C.UTF-8 > /dev/null
    rm "$password"
    echo 'host all all all scram-sha-256' >> "$PGDATA/pg_hba.conf"
    printf '%s\n' "CREATE DATABASE \"$POSTGRES_DB\";" \
        | postgres --single -D "$PGDATA" postgres > /dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/tmp
