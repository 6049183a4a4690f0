sql "CREATE TABLE purchase (customerid VARCHAR(20), orderid VARCHAR(20), productid VARCHAR(20), quantity INT NOT NULL, PRIMARY KEY (customerid, orderid, productid)); INSERT INTO purchase VALUES ('c1', 'o1', 'p1', 1)"
cat >rules.json <<'END'
{"rules": [
  {"rule-type": "selection", "rule-id": "1", "rule-name": "1", "rule-action": "include",
   "object-locator": {"schema-name": "shop", "table-name": "purchase"}},
  {"rule-type": "object-mapping", "rule-id": "2", "rule-name": "2", "rule-action": "map-record-to-record",
   "object-locator": {"schema-name": "shop", "table-name": "purchase"}, "target-table-name": "purchase",
   "mapping-parameters": {"partition-key-name": "customerid", "sort-key-name": "line",
    "attribute-mappings": [
     {"target-attribute-name": "customerid", "attribute-type": "scalar", "attribute-sub-type": "string",
      "value": "${customerid}"},
     {"target-attribute-name": "line", "attribute-type": "scalar", "attribute-sub-type": "string",
      "value": "${orderid}|${productid}"}]}}
]}
END
cat >whimbrel.toml <<END
[source]
url = "$SOURCE"
[target]
endpoint = "$TARGET"
region = "us-east-1"
END
whimbrel() {
  [ "$1" = init ] && set -- "$@" --endpoint "$TARGET" --output own.toml
  command whimbrel "$@"
}
