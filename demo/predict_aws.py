"""``make demo-predict ENGINE=aws``: the same table, with the lake in S3, and model and endpoint on SageMaker.

S3 and DynamoDB are ministack's, SageMaker is a stand-in (demo/sagemaker.py) that checks each request by AWS's
description of the service. The commands are those that one would type with an account.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from demo import bank
from demo.predict import CORRELATION, FOLDER, as_csv, console, report, title, typed, whimbrel, whimbrel_json
from demo.predict import Load as LocalLoad
from demo.servers import Ministack, SageMaker
from demo.servers.dynamo import local_client

BUCKET = "bank-lake"
PROJECT = """
[target]
endpoint = "{endpoint}"
region = "us-east-1"

[lake]
folder = "s3://{bucket}/bank"
s3_endpoint = "{endpoint}"

[sagemaker]
role = "arn:aws:iam::111122223333:role/whimbrel-sagemaker"
image = "111122223333.dkr.ecr.us-east-1.amazonaws.com/whimbrel:1.0"
endpoint = "{sagemaker}"                 # the stand-in; without it, AWS

[[dataset]]
table = "bank"
name = "datasource"

[[model]]
name = "subscribes"
dataset = "datasource"
target = "y"
exclude = ["customer_id", "duration"]
time = "called"
engine = "sagemaker"
learner = "linear-learner"
spot = true
max_wait = 7200

[[endpoint]]
name = "ServiceEndpoint"
model = "subscribes"
engine = "sagemaker"
traffic = "CANARY"
wait = 2
bake = 1

[[renewal]]
model = "subscribes"
endpoint = "ServiceEndpoint"
"""


def demonstrate(table: Ministack, calls: Sequence[bank.BankRow], rate: int, present: float) -> int:
    made = round(len(calls) * present)
    with SageMaker(table.endpoint, FOLDER / "sagemaker") as sagemaker:
        local_client("s3", table.endpoint, table.region).create_bucket(Bucket=BUCKET)
        text = PROJECT.format(endpoint=table.endpoint, bucket=BUCKET, sagemaker=sagemaker.endpoint)
        (FOLDER / "whimbrel.toml").write_text(text)
        (FOLDER / "correlation.sql").write_text(CORRELATION)
        title("A table in DynamoDB", f"by {table.endpoint}; SageMaker by {sagemaker.endpoint}")
        bank.put(calls[:made], table.target(), "bank")
        console.print(f"bank has {made:,} items, calls of a bank and their outcomes (y).")
        title("Export, convert, SQL", f"the lake is in s3://{BUCKET}/bank")
        whimbrel("export", "bank")
        whimbrel("convert", "bank")
        whimbrel("query", "--file", "correlation.sql")
        title("Renew", "train by a job of linear-learner, compare, make the endpoint")
        whimbrel("renew")
        whimbrel("endpoint", "status")
        whimbrel("predict", as_csv(calls[made]))
        title("Renew again", f"with a canary, while {rate} predictions a second are asked for")
        with LocalLoad(sagemaker.endpoint, [as_csv(row) for row in calls[made:]], rate) as load:
            bank.put(calls[made:], table.target(), "bank")
            console.print(f"The application has written {len(calls) - made:,} more calls, with their outcomes.")
            line = whimbrel_json("renew")
            threading.Event().wait(1.0)
        whimbrel("drift")
        whimbrel("status")
        typed(f"$ aws s3 ls --recursive s3://{BUCKET}/bank/renewals/")
        for name in _names(table, "bank/renewals/"):
            console.print(f"  {name}")
        title("For an account", "template and policies: state machine, schedule, roles, alarms")
        whimbrel("aws", "template", "--account", "111122223333", "--region", "eu-west-1")
        console.print(f"{len(sagemaker.calls())} calls to SageMaker, each as its description has it.")
    report(line, load, calls)
    return 1 if load.failed or line["outcome"] != "renewed" else 0


def _names(table: Ministack, prefix: str) -> list[str]:
    listed = local_client("s3", table.endpoint, table.region).list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [each["Key"] for each in listed.get("Contents", ())]
