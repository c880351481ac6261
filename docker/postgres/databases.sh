#!/usr/bin/env bash
# A database and a role for each service, once, when the server is made: none reads another's. Runs in
# /docker-entrypoint-initdb.d; a role's password is the one in its service's database URL.
set -euo pipefail
for url in /run/secrets/*-database-url; do
  service=$(basename "$url" -database-url)
  password=$(sed -E 's|.*://[^:]*:([^@]*)@.*|\1|' "$url")
  psql -v ON_ERROR_STOP=1 --no-psqlrc --quiet --username "$POSTGRES_USER" --dbname "$POSTGRES_DB" \
    -v name="$service" -v password="$password" <<'SQL'
CREATE ROLE :"name" LOGIN PASSWORD :'password';
CREATE DATABASE :"name" OWNER :"name";
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
SQL
done
