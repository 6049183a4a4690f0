"""The commands for AWS: template, package."""

from __future__ import annotations

from pathlib import Path

import click

import whimbrel
from whimbrel.cli.dms import dms_option
from whimbrel.cli.options import guarded, json_option, named_project, project_option

output_option = click.option(
    "-o", "--output", type=click.Path(path_type=Path), default="aws", show_default=True, help="The folder to write to."
)


@click.group()
def aws() -> None:
    """Write what the project needs on AWS: template and package (docs/aws.md)."""


@aws.command()
@project_option
@dms_option
@json_option
@output_option
@click.option("--account", required=True, help="The AWS account of the policies: twelve digits.")
@click.option("--region", default="", help="The region of the policies; by default that of [target].")
@click.option(
    "--key", default="", help="ARN of the KMS key that is to encrypt everything; by default the services' own."
)
@guarded
def template(project_file: Path, as_json: bool, output: Path, account: str, region: str, key: str) -> int:
    """Write the project's CloudFormation template, and each of its policies as JSON."""
    from whimbrel.cli.frame import OK, say_json

    made = whimbrel.aws_template(named_project(project_file), account=account, region=region, key=key, output=output)
    if as_json:
        say_json(made.to_dict())
    else:
        click.echo("\n".join([made.template, *made.policies]))
    return OK


@aws.command()
@json_option
@output_option
@click.option(
    "--architecture",
    "architectures",
    type=click.Choice(["arm64", "x86_64"]),
    multiple=True,
    default=["arm64", "x86_64"],
    show_default=True,
    help="May be given several times.",
)
@click.option(
    "--wheels",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="A folder with the wheels, where there is no network.",
)
@click.option("--spark", is_flag=True, help="The archive of the Spark job (docs/spark.md) instead.")
@guarded
def package(as_json: bool, output: Path, architectures: tuple[str, ...], wheels: Path | None, spark: bool) -> int:
    """Build the Lambda function's package, or the Spark job's archive: the same bytes each time."""
    from whimbrel.cli.frame import OK, say_json

    made = whimbrel.aws_package(architectures=architectures, output=output, wheels=wheels, spark=spark)
    for each in made:
        if as_json:
            say_json(each.to_dict())
        else:
            click.echo(f"{each.file}: {each.bytes:,} bytes, SHA-256 {each.sha256}")
    return OK
