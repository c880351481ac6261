"""The database and object store of a scaled stack: PostgreSQL and S3, each as a container."""

import os
from pathlib import Path

from recast.client import SERVICES
from recast.stack.secrets import BUCKET
from recast.testing.containers import OwnedContainer

_ADMINISTRATOR = "recast"


class PostgresqlContainer(OwnedContainer):
    """PostgreSQL with the roles and databases of the secrets' URLs, one for each service.

    Without fsync, for its data is removed with the test.
    """

    role = "postgres"

    def __init__(self, *, stack: str = "", folder: Path | None = None) -> None:
        image = os.environ.get("RECAST_POSTGRES_IMAGE", "recast/postgres")
        super().__init__(image, stack=stack, folder=folder)
        self.with_envs(POSTGRES_USER=_ADMINISTRATOR, POSTGRES_PASSWORD_FILE="/run/secrets/postgres-password")
        self.with_secrets("postgres-password")
        # The rights to become the user `postgres`, the owner of its folder; it needs no others.
        self._kwargs |= {"cap_drop": [], "security_opt": []}
        self.with_command(["postgres", "-c", "fsync=off", "-c", "max_connections=300"])

    def prepare(self) -> None:
        """Makes the roles and databases, as soon as the server answers."""
        self.wait_until_ready()
        for service in SERVICES:
            password = self.url(service).partition("@")[0].rpartition(":")[2]
            for statement in (
                f"CREATE ROLE {service} LOGIN PASSWORD '{password}'",
                f"CREATE DATABASE {service} OWNER {service}",
            ):
                done = self.exec(["psql", "-q", "-U", _ADMINISTRATOR, "-c", statement])
                assert done.exit_code == 0, done.output

    def wait_until_ready(self) -> None:
        """Returns when it answers over the network, which it opens once initialized."""
        self.await_that(["pg_isready", "--quiet", "--host=127.0.0.1", f"--username={_ADMINISTRATOR}"])

    def url(self, service: str, host: str = "") -> str:
        """The URL of a service's database, for containers of the stack, or at `host`."""
        url = (self.secrets / f"{service}-database-url").read_text().strip()
        return url.replace("@postgres:", f"@{host}:") if host else url


class S3Container(OwnedContainer):
    """An S3 server with the stack's bucket."""

    role = "s3"

    def __init__(self, *, stack: str = "", folder: Path | None = None) -> None:
        super().__init__(
            os.environ.get("RECAST_SEAWEEDFS_IMAGE", "recast/seaweedfs"), stack=stack, folder=folder
        )
        self.with_envs(S3_BUCKET=BUCKET, S3_CONFIG="/run/secrets/s3.json")
        self.with_secrets("s3.json")
        self.with_tmpfs_mount("/tmp")

    def prepare(self) -> None:
        """Returns when the bucket exists: the server makes it."""
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Returns when the bucket exists."""
        self.await_that(["test", "-e", "/tmp/ready"])
