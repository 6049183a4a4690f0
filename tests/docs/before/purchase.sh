sql "CREATE TABLE purchase (customer INT NOT NULL, orderid INT NOT NULL, product VARCHAR(20) NOT NULL, quantity INT NOT NULL, PRIMARY KEY (orderid, product)); INSERT INTO purchase VALUES (7, 1, 'tea', 2), (7, 1, 'cup', 1)"
whimbrel() {
  case $1 in init | design) set -- "$@" --endpoint "$TARGET" ;; esac
  command whimbrel "$@"
}
