cat >whimbrel.toml <<END
[target]
region = "eu-west-1"

[lake]
folder = "s3://bucket/shop"

[sagemaker]
role = "arn:aws:iam::111122223333:role/whimbrel-sagemaker"
image = "111122223333.dkr.ecr.eu-west-1.amazonaws.com/whimbrel:1.0"

[[dataset]]
table = "bank"

[[model]]
name = "bank"
dataset = "bank"
target = "y"
engine = "sagemaker"

[[endpoint]]
name = "ServiceEndpoint"
model = "bank"
engine = "sagemaker"

[[renewal]]
model = "bank"
endpoint = "ServiceEndpoint"
cron = "0 3 * * *"
END
aws s3 mb s3://bucket
STATE_MACHINE_ARN=arn:aws:states:us-east-1:000000000000:stateMachine:whimbrel-renew
