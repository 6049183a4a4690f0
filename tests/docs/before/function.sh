aws iam create-role --role-name whimbrel-shop --assume-role-policy-document '{}'
aws lambda create-function --function-name whimbrel-shop --runtime python3.13 --handler whimbrel.function.handler.handler \
  --role "arn:aws:iam::000000000000:role/whimbrel-shop" --zip-file fileb://aws/function-arm64.zip
