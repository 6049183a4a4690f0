"""Stand-ins for DynamoDB on this machine."""

from __future__ import annotations

import os
import sys
import urllib.error
import urllib.request
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import botocore.config

from demo.from_debian import servers_folder
from demo.servers.process import Server, ServerUnavailable, program
from whimbrel.project import Target

SERVICES = "dynamodb,dynamodbstreams,s3,cloudformation,iam,kinesis,lambda,sqs,sns,cloudwatch,logs,states,ecs,scheduler"


class DynamoServer(Server):
    """What the stand-ins for DynamoDB have in common: an HTTP endpoint, any credentials, any region."""

    region = "us-east-1"

    @property
    def endpoint(self) -> str:
        return f"http://{self.host}:{self.port}"

    def target(self, **more: Any) -> Target:
        """The project settings with which whimbrel writes to this server."""
        return Target(endpoint=self.endpoint, region=self.region, **more)

    def client(self) -> Any:
        """boto3's client, with credentials that work here and nowhere else; the same one each time."""
        return self._client

    @cached_property
    def _client(self) -> Any:
        return local_client("dynamodb", self.endpoint, self.region)

    def _answers(self) -> bool:
        headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": "application/x-amz-json-1.0"}
        try:
            urllib.request.urlopen(urllib.request.Request(self.endpoint, b"{}", headers), timeout=5).close()
        except urllib.error.HTTPError as error:
            error.close()
            return error.code < 500  # unsigned, and refused by a server that is up
        except OSError:
            return False
        return True


def local_client(service: str, endpoint: str, region: str) -> Any:
    """boto3's client of a stand-in, with credentials that work there and nowhere else."""
    return boto3.client(
        service,  # type: ignore[call-overload]
        endpoint_url=endpoint,
        region_name=region,
        aws_access_key_id="local",
        aws_secret_access_key="local",
        config=botocore.config.Config(retries={"max_attempts": 1}),
    )


class Ministack(DynamoServer):
    """ministack from PyPI: DynamoDB, and what a template of whimbrel has. In memory: all is gone when it ends."""

    name = "ministack"

    def _command(self) -> list[str]:
        # Its collector looks at all items and records again and again, and everybody waits for a second meanwhile.
        seldom = "import gc, runpy; gc.set_threshold(50_000, 20, 1_000_000)"
        return [sys.executable, "-c", f"{seldom}; runpy.run_module('ministack', run_name='__main__', alter_sys=True)"]

    def _environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "BIND_HOST": self.host,
            "GATEWAY_PORT": str(self.port),
            "SERVICES": SERVICES,
            "LOG_LEVEL": "ERROR",
            "TMPDIR": str(self.folder),
            "S3_DATA_DIR": str(self.folder),
            "DOCKER_HOST": f"unix://{self.folder}/none",  # it would look for containers of its own to remove
            "IOT_MTLS_ENABLED": "0",
            "SFTP_ENABLED": "0",
        }


class Dynalite(DynamoServer):
    """dynalite from npm, on LevelDB: strict, and keeps its tables through a SIGKILL."""

    name = "dynalite"

    def _command(self) -> list[str]:
        node = program("node", "apt-get install nodejs npm")
        here = Path(__file__).parents[1] / "dynalite"
        packages = servers_folder() / "dynalite"
        if not (packages / "node_modules" / "dynalite").is_dir():
            raise ServerUnavailable(f"dynalite: not in {packages}. `make setup-tests` installs it")
        return [node, str(here / "serve.js"), str(packages), str(self.port), str(self.folder / "data")]


class DynamoDBLocal(DynamoServer):
    """Amazon's DynamoDB Local, from the person's own copy: WHIMBREL_DYNAMODB_LOCAL names the folder with
    DynamoDBLocal.jar.

    Its licence asks for an AWS account, so nothing here fetches it. It has no setting for the address that it listens
    on.
    """

    name = "dynamodb-local"

    def _command(self) -> list[str]:
        home = os.environ.get("WHIMBREL_DYNAMODB_LOCAL", "")
        if not (Path(home) / "DynamoDBLocal.jar").is_file():
            raise ServerUnavailable(f"DynamoDB Local: no DynamoDBLocal.jar in WHIMBREL_DYNAMODB_LOCAL={home!r}")
        java = [
            program("java", "apt-get install default-jre-headless"),
            f"-Djava.library.path={home}/DynamoDBLocal_lib",
        ]
        return [
            *java,
            "-jar",
            f"{home}/DynamoDBLocal.jar",
            "-port",
            str(self.port),
            "-sharedDb",
            "-dbPath",
            str(self.folder),
        ]
