python -m demo.bank --endpoint "$TARGET" --table bank --rows 3000
cat >whimbrel.toml <<END
[target]
endpoint = "$TARGET"
region = "us-east-1"

[[dataset]]
table = "bank"

[[model]]
name = "bank"
dataset = "bank"
target = "y"
exclude = ["customer_id", "duration"]

[[endpoint]]
name = "ServiceEndpoint"
model = "bank"
END
whimbrel export bank && whimbrel convert bank && whimbrel train
whimbrel serve --port 8080 >serve.txt 2>&1 & SERVER=$!
timeout 60 bash -c 'until curl -sf http://127.0.0.1:8080/ping; do :; done'
