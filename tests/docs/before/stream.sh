cat >>whimbrel.toml <<END

[log]
engine = "kinesis"
stream = "whimbrel-shop"

[apply]
engine = "lambda"
END
BUCKET=bucket KEY=function.zip
aws s3 mb "s3://$BUCKET"
# `whimbrel aws package` asks a package index, so these are empty.
mkdir aws package && touch package/none
python -m zipfile --create aws/function-arm64.zip package/none
cp aws/function-arm64.zip aws/whimbrel-spark-x86_64.zip
aws kinesis create-stream --stream-name other
STREAM_ARN=$(aws kinesis describe-stream-summary --stream-name other --query StreamDescriptionSummary.StreamARN --output text)
