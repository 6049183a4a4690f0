python -m demo.bank --endpoint "$TARGET" --table bank --rows 3000
printf '[target]\nendpoint = "%s"\nregion = "us-east-1"\n' "$TARGET" >whimbrel.toml
