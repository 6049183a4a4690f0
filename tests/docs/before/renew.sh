python -m demo.bank --endpoint "$TARGET" --table bank --rows 3000
cat >whimbrel.toml <<END
[target]
endpoint = "$TARGET"
region = "us-east-1"

[[dataset]]
table = "bank"

[[model]]
name = "subscribes"
dataset = "bank"
target = "y"
exclude = ["customer_id", "duration"]

[[renewal]]
model = "subscribes"
END
