"""What is written for a project: a template that CloudFormation takes, and policies that IAM takes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import botocore.session
import pytest
from click.testing import CliRunner

import whimbrel
from whimbrel.aws.renewal import schedule_of
from whimbrel.cli.main import main
from whimbrel.dynamodb import imports
from whimbrel.errors import ProjectError

KEY = "arn:aws:kms:eu-west-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab"
ACCOUNT = ["--account", "111122223333", "--region", "eu-west-1"]
STORE = '[snapshot]\nstore = "s3://shop-files/shop"\n[load]\nengine = "import"\n'
STREAM = '[log]\nengine = "kinesis"\nstream = "shop.changes"\n[apply]\nengine = "lambda"\n'
LAKE = (
    '[lake]\nfolder = "s3://shop-lake/shop"\nexport = "native"\nrecovery = true\n'
    '[[dataset]]\ntable = "records"\npublish = "iceberg"\n'
)
LAKE += '[[model]]\nname = "m"\ndataset = "records"\ntarget = "y"\n[[endpoint]]\nname = "m"\n[[renewal]]\nmodel = "m"\n'
SAGEMAKER = """
[sagemaker]
role = "arn:aws:iam::111122223333:role/sm"
image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/whimbrel:1.0"
subnets = ["subnet-1"]
security_groups = ["sg-1"]
[[model]]
name = "records"
target = "y"
engine = "sagemaker"
learner = "linear-learner"
[[endpoint]]
name = "ServiceEndpoint"
engine = "sagemaker"
alarms = ["ServiceEndpoint-errors"]
max_instances = 4
[[endpoint]]
name = "another"
engine = "sagemaker"
[[renewal]]
model = "records"
endpoint = "ServiceEndpoint"
cron = "15 3 * * mon-fri"
"""
ARCHIVE = 'archive = "s3://shop-code/whimbrel-spark-x86_64.zip"\ntasks = 8\n'
SPARK = {
    "emr-serverless": 'application = "00f1abcdef"\nrole = "arn:aws:iam::111122223333:role/load"\n',
    "glue": 'job = "shop-load"\n',
    "emr": 'cluster = "j-2AXXXXXXGAPLF"\n',
}


def by_spark(runner: str) -> str:
    """What a project file has beside its tables."""
    where = f'[spark]\nrunner = "{runner}"\n{ARCHIVE}{SPARK[runner]}'
    return f'[snapshot]\nstore = "s3://shop-files/shop"\n[load]\nengine = "spark"\n{where}'


# The ways by which Redshift is reached.
WAREHOUSES = {
    way: f"""[warehouse]
engine = "redshift"
url = "{url}"
stage = "s3://shop-stage/rows"
role = "arn:aws:iam::111122223333:role/copy"
[[silo]]
name = "sports"
url = "mysql://me@db/sports"
password_env = "SPORTS_PASSWORD"
"""
    for way, url in (
        ("connection", "redshift://me@h/analytics"),
        ("workgroup", "redshift-data://analytics/analytics"),
        ("cluster", "redshift-data://loader@analytics-1/analytics"),
    )
}
# Projects whose templates differ, by their names.
PROJECTS = {
    "all": STREAM + STORE + LAKE + SAGEMAKER,
    **{runner: by_spark(runner) for runner in SPARK},
    **WAREHOUSES,
}
# Actions that no operation is named after.
OPERATIONS = {"s3:ListBucket": "ListObjectsV2"}
TABLE = '[[table]]\nsource = "{0}"\ntarget = "{0}"\nshape = "{1}"\npartition_key = {{ name = "id" }}\n{2}'
ENTRY = 'entry = { name = "${n}", value = "v" }\n'


def project(folder: Path, tables: int = 1, *, stream: str = STREAM + STORE) -> Path:
    """With as many tables of groups as asked for, and one of records."""
    groups = "".join(TABLE.format(f"group-{number:04}-{'x' * 200}", "group", ENTRY) for number in range(tables))
    file = folder / "whimbrel.toml"
    file.write_text(
        f'[source]\nurl = "mysql://me@db/shop"\n[target]\nregion = "us-east-1"\n{stream}'
        + TABLE.format("records", "record", "")
        + groups
    )
    return file


def written(folder: Path, tables: int = 1, *, stream: str = STREAM + STORE, key: str = "") -> dict[str, Any]:
    """By its name, what is in each file that the command writes."""
    out = folder / "out"
    file = str(project(folder, tables, stream=stream))
    result = CliRunner().invoke(main, ["aws", "template", "-p", file, "-o", str(out), *ACCOUNT, "--json", "--key", key])
    assert result.exit_code == 0, result.output
    said = json.loads(result.stdout)
    assert sorted([said["template"], *said["policies"]]) == sorted(map(str, out.iterdir()))
    return {file.name: json.loads(file.read_text()) for file in out.iterdir()}


def written_all(folder: Path, projects: dict[str, str], tables: int = 1) -> dict[str, dict[str, Any]]:
    """``written`` for each of the projects, in a folder with its name."""
    made = {}
    for name, stream in projects.items():
        (folder / name).mkdir()
        made[name] = written(folder / name, tables, stream=stream)
    return made


def test_cloudformation_would_take_the_template(tmp_path: Path) -> None:
    """Says cfn-lint, from the schemas of all resources, without a network. It reads these once for all templates."""
    ways = {**PROJECTS, "process": "", "no mark": 'mark = "off"\n'}
    written_all(tmp_path, ways)
    written(tmp_path / "all", tables=60, stream=PROJECTS["all"])
    command = [str(Path(sys.executable).with_name("cfn-lint")), "--regions", "eu-west-1", "--include-checks", "I", "--"]
    files = [str(tmp_path / way / "out" / "template.json") for way in ways]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)


def test_the_same_project_makes_the_same_bytes(tmp_path: Path) -> None:
    written(tmp_path)
    before = {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}
    written(tmp_path)
    assert before == {file.name: file.read_bytes() for file in (tmp_path / "out").iterdir()}


def test_what_has_data_is_encrypted_and_kept_for_a_known_time(tmp_path: Path) -> None:
    resources = resolved(written(tmp_path)["template.json"])["Resources"]
    properties = {name: each["Properties"] for name, each in resources.items()}
    assert properties["Stream"]["StreamEncryption"] == {"EncryptionType": "KMS", "KeyId": "alias/aws/kinesis"}
    assert properties["Stream"]["RetentionPeriodHours"] == {"Ref": "RetentionHours"}
    assert properties["Marks"]["SSESpecification"] == {"SSEEnabled": True}
    assert {name for name, each in resources.items() if each.get("DeletionPolicy") == "Retain"} == {"Marks", "Bucket"}
    assert properties["FailedBatches"]["SqsManagedSseEnabled"] is True
    assert properties["Logs"]["RetentionInDays"] == 30


def test_changes_that_no_record_takes_go_some_days_after_their_records(tmp_path: Path) -> None:
    """Of a project with a stream alone: without one there are none."""
    found = written(tmp_path)["template.json"]["Parameters"]
    assert found["ChangeDays"]["Default"] * 24 > found["RetentionHours"]["Default"]
    (other := tmp_path / "other").mkdir()
    assert "ChangeDays" not in json.dumps(written(other, stream=STORE)["template.json"])


def test_the_bucket_is_private_encrypted_and_cleaned(tmp_path: Path) -> None:
    resources = resolved(written(tmp_path)["template.json"])["Resources"]
    bucket = resources["Bucket"]["Properties"]
    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    snapshot, changes, parts = bucket["LifecycleConfiguration"]["Rules"]
    assert (snapshot["Prefix"], snapshot["ExpirationInDays"]) == ("shop/", {"Ref": "SnapshotDays"})
    assert (changes["Prefix"], changes["ExpirationInDays"]) == ("shop/changes/", {"Ref": "ChangeDays"})
    assert parts["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 1}
    [denied] = resources["BucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    assert (denied["Effect"], denied["Condition"]) == ("Deny", {"Bool": {"aws:SecureTransport": "false"}})


def test_an_application_is_limited_and_stops_by_itself(tmp_path: Path) -> None:
    """Two drivers of 4 cores, and twice two executors of 4: the next job begins while the last one ends."""
    template = written(tmp_path, stream=by_spark("emr-serverless"))["template.json"]
    application = template["Resources"]["SparkApplication"]["Properties"]
    assert application["MaximumCapacity"] == {"Cpu": "24 vCPU", "Memory": "96 GB", "Disk": "120 GB"}
    assert application["AutoStopConfiguration"] == {"Enabled": True, "IdleTimeoutMinutes": {"Ref": "SparkIdleMinutes"}}
    assert "InitialCapacity" not in application
    policies = {f"{name}PolicyArn" for name in ("Migrate", "Verify", "Cutover", "Spark")}
    assert set(template["Outputs"]) == {*policies, "SparkApplicationId", "SparkRoleArn"}


def test_a_job_of_glue_is_the_one_that_runs_ask_for(tmp_path: Path) -> None:
    template = written(tmp_path, stream=by_spark("glue"))["template.json"]
    job = template["Resources"]["SparkGlueJob"]["Properties"]
    assert template["Parameters"]["SparkJob"]["Default"] == "shop-load"
    assert (job["Name"], job["GlueVersion"], job["NumberOfWorkers"]) == ({"Ref": "SparkJob"}, "5.0", 3)
    assert (job["MaxRetries"], job["Timeout"]) == (0, 1440)


def test_a_cluster_of_emr_is_the_users_own(tmp_path: Path) -> None:
    template = written(tmp_path, stream=by_spark("emr"))["template.json"]
    assert [name for name in template["Resources"] if name.startswith("Spark")] == ["SparkPolicy"]


@pytest.mark.parametrize("runner", SPARK)
def test_whoever_starts_a_job_gives_it_no_more_than_its_own_role(tmp_path: Path, runner: str) -> None:
    files = written(tmp_path, stream=by_spark(runner))
    granted = [each for each in files["policy-migrate.json"]["Statement"] if each["Sid"].startswith("Spark")]
    passed = [each for each in granted if each["Action"] == ["iam:PassRole"]]
    assert [each["Resource"] for each in passed] == [
        ["arn:aws:iam::111122223333:role/load"] for _ in range(runner == "emr-serverless")
    ]
    assert all("Condition" in each for each in passed)
    job = {action for each in files["policy-spark.json"]["Statement"] for action in each["Action"]}
    logs = {"logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"} if runner == "glue" else set()
    files_of_the_job = {"s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:ListBucket"}
    assert job == {"dynamodb:BatchWriteItem", *files_of_the_job, *logs}


def test_a_renewal_is_a_task_for_each_step_and_a_schedule(tmp_path: Path) -> None:
    template = written(tmp_path, stream=STREAM + STORE + LAKE + SAGEMAKER)["template.json"]
    resources = resolved(template)["Resources"]
    steps = ("Export", "Convert", "Train", "Gate", "Update")
    for step in steps:
        task = resources[f"Renew{step}Task"]["Properties"]
        [container] = task["ContainerDefinitions"]
        assert (container["ReadonlyRootFilesystem"], container["User"]) == (True, "10001")
        assert task["TaskRoleArn"] == {"Fn::GetAtt": [f"Renew{step}Role", "Arn"]}
    roles = {step: json.dumps(resources[f"Renew{step}Role"]["Properties"]["ManagedPolicyArns"]) for step in steps}
    assert len(set(roles.values())) == len(steps)
    assert all("RenewalPolicy" in each for each in roles.values())
    schedule = resources["RenewSchedule"]["Properties"]
    assert schedule["ScheduleExpression"] == "cron(15 3 ? * MON-FRI *)"
    assert json.loads(schedule["Target"]["Input"]) == {"model": "records"}
    assert "RenewSchedule2" not in resources  # the other one is renewed on this machine
    names = {each["Properties"].get("AlarmName") for each in resources.values()}
    assert {"ServiceEndpoint-errors", "ServiceEndpoint-slow", "another-errors", "another-slow"} <= names
    rules = resources["Lake"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert {each["Id"] for each in rules} == {"exports", "training", "captured", "results", "parts"}


@pytest.mark.parametrize(
    ("cron", "expression"),
    [
        ("0 3 * * *", "cron(0 3 * * ? *)"),
        ("*/15 0-5 1,15 * *", "cron(*/15 0-5 1,15 * ? *)"),
        ("0 3 * jan mon", "cron(0 3 ? JAN MON *)"),
    ],
)
def test_five_fields_of_cron_are_those_of_eventbridge(cron: str, expression: str) -> None:
    assert schedule_of(cron) == expression


@pytest.mark.parametrize("cron", ["0 3 * * 1-5", "0 3 1 * mon", "0 3 * * */2x", "daily", "0 3 L * *", "60 3 * * *"])
def test_a_cron_that_eventbridge_reads_otherwise_is_refused(tmp_path: Path, cron: str) -> None:
    later = SAGEMAKER.replace('cron = "15 3 * * mon-fri"', f'cron = "{cron}"')
    assert later != SAGEMAKER
    file = project(tmp_path, stream=STREAM + STORE + LAKE + later)
    with pytest.raises(ProjectError, match="is not a valid schedule"):
        whimbrel.aws_template(file, output=tmp_path / "out", account="111122223333", region="us-east-1")
    assert not (tmp_path / "out").exists()


def test_a_key_encrypts_everything_and_both_accounts_may_use_it(tmp_path: Path) -> None:
    files = written(tmp_path, key=KEY)
    template = files["template.json"]
    assert template["Parameters"]["KeyArn"]["Default"] == KEY
    resources = resolved(template, HasKey=True)["Resources"]
    properties = {name: each["Properties"] for name, each in resources.items()}
    by = {"Ref": "KeyArn"}
    assert properties["Stream"]["StreamEncryption"]["KeyId"] == by
    assert properties["Marks"]["SSESpecification"]["KMSMasterKeyId"] == by
    assert (properties["FailedBatches"]["KmsMasterKeyId"], properties["FailedBatches"]["SqsManagedSseEnabled"]) == (
        by,
        False,
    )
    assert (properties["Logs"]["KmsKeyId"], properties["Function"]["KmsKeyArn"]) == (by, by)
    [rule] = properties["Bucket"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": by}
    assert {"Ref": "KeyPolicy"} in properties["Role"]["ManagedPolicyArns"]
    assert files["policy-key.json"]["Statement"][0]["Action"] == ["kms:Decrypt", "kms:GenerateDataKey"]
    assert files["policy-key.json"]["Statement"][0]["Resource"] == [KEY]


def test_the_function_is_in_a_vpc_where_subnets_are_given(tmp_path: Path) -> None:
    template = written(tmp_path)["template.json"]
    assert "VpcConfig" not in resolved(template)["Resources"]["Function"]["Properties"]
    resources = resolved(template, HasVpc=True)["Resources"]
    assert resources["Function"]["Properties"]["VpcConfig"]["SubnetIds"] == {"Ref": "SubnetIds"}
    assert "AWSLambdaVPCAccessExecutionRole" in json.dumps(resources["Role"])


def test_without_a_stream_there_are_the_marks_and_one_account(tmp_path: Path) -> None:
    files = written(tmp_path, stream="")
    assert set(files) == {*("template.json", "policy-migrate.json", "policy-verify.json", "policy-cutover.json")}
    assert set(files["template.json"]["Resources"]) == {
        *("Marks", "MigratePolicy", "VerifyPolicy", "CutoverPolicy", "KeyPolicy")
    }
    assert set(files["template.json"]["Parameters"]) == {"KeyArn", "MarkTable", "MakeMarkTable"}


def resolved(template: dict[str, Any], **conditions: bool) -> dict[str, Any]:
    """With Fn::If replaced, as CloudFormation would; what is not named does not hold."""

    def of(value: Any) -> Any:
        if isinstance(value, list):
            return [made for each in value if (made := of(each)) != {"Ref": "AWS::NoValue"}]
        if not isinstance(value, dict):
            return value
        if "Fn::If" in value:
            condition, then, otherwise = value["Fn::If"]
            return of(then if conditions.get(condition, False) else otherwise)
        return {name: made for name, each in value.items() if (made := of(each)) != {"Ref": "AWS::NoValue"}}

    found: dict[str, Any] = of(template)
    return found


def test_the_mapping_keeps_the_order_of_a_lane(tmp_path: Path) -> None:
    properties = written(tmp_path)["template.json"]["Resources"]["Mapping"]["Properties"]
    assert properties["ParallelizationFactor"] == 1
    assert properties["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert properties["StartingPosition"] == "TRIM_HORIZON"
    assert properties["BisectBatchOnFunctionError"] is True


def test_a_stream_that_is_there_is_used_by_its_name(tmp_path: Path) -> None:
    template = written(tmp_path)["template.json"]
    assert resolved(template, MakesStream=False)["Resources"]["Mapping"]["Properties"]["EventSourceArn"] == {
        "Fn::Sub": "arn:${AWS::Partition}:kinesis:${AWS::Region}:${AWS::AccountId}:stream/${StreamName}"
    }
    assert template["Resources"]["Stream"]["Condition"] == "MakesStream"


def test_every_action_is_one_of_its_service_and_every_resource_is_named(tmp_path: Path) -> None:
    """A misspelt action would allow nothing, and nobody would say so."""
    session = botocore.session.Session()
    files = written(tmp_path)
    names = [name for name in files if name.startswith("policy-")]
    assert len(names) >= 2
    for name in names:
        for statement in files[name]["Statement"]:
            for action in statement["Action"]:
                service, _, operation = action.partition(":")
                if service == "iam":  # to hand a role on is no call of its own
                    continue
                called = OPERATIONS.get(action, operation)
                services = ("dynamodb", "dynamodbstreams") if service == "dynamodb" else (service,)
                assert any(called in session.get_service_model(each).operation_names for each in services)
            if statement["Action"] in (["logs:DescribeLogGroups"], ["dynamodb:ListImports"]):  # IAM takes no other
                assert statement["Resource"] == ["*"]
                continue
            at = r"arn:aws:(s3::|[a-z]+:eu-west-1:111122223333):\S+"
            assert all(re.fullmatch(at, r) and "$" not in r for r in statement["Resource"])
            assert all(
                "*" not in re.sub(r"(:|/import/|/stream/|:shop-files/shop/|:shop-files/shop/changes/)\*$", "", r)
                for r in statement["Resource"]
            )


def test_every_call_of_an_import_is_allowed(tmp_path: Path) -> None:
    """What the module calls, by name."""
    called = re.findall(r"client\.(\w+)\(", Path(imports.__file__).read_text())
    assert {"import_table", "describe_import", "list_imports"} <= set(called)
    statements = written(tmp_path)["policy-migrate.json"]["Statement"]
    granted = {action for each in statements for action in each["Action"]}
    assert {f"dynamodb:{''.join(map(str.capitalize, each.split('_')))}" for each in called} <= granted


def test_a_record_table_is_not_updated_and_a_group_is(tmp_path: Path) -> None:
    statements = written(tmp_path)["policy-function.json"]["Statement"]
    actions = {each["Resource"][0].rpartition("/")[2][:7]: each["Action"] for each in statements}
    assert actions["records"] == ["dynamodb:BatchWriteItem"]
    assert actions["group-0"] == ["dynamodb:DeleteItem", "dynamodb:UpdateItem"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"account": "1111"}, "'1111' is not the number of an AWS account"),
        ({"region": "nowhere"}, "'nowhere' is not a region"),
        ({"key": "alias/mine"}, "'alias/mine' is not the ARN of a KMS key"),
    ],
)
def test_what_cannot_be_is_refused(tmp_path: Path, wrong: dict[str, str], said: str) -> None:
    with pytest.raises(ProjectError, match=said):
        whimbrel.aws_template(project(tmp_path), output=tmp_path / "out", **{"account": "111122223333", **wrong})
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")])
def test_other_partitions_have_their_own_arns(tmp_path: Path, region: str, partition: str) -> None:
    made = whimbrel.aws_template(project(tmp_path), account="111122223333", region=region, output=tmp_path / "out")
    for file in made.policies:
        for statement in json.loads(Path(file).read_text())["Statement"]:
            assert all(each.startswith(f"arn:{partition}:") or each == "*" for each in statement["Resource"])
