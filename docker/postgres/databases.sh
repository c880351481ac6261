#!/usr/bin/env bash
# Makes a database and a role for each service, when the server is made; no role can read another database. Runs in
# /docker-entrypoint-initdb.d; the password of a role is in the database URL of its service.
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
