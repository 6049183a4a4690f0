import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * The purchases of a shop, with both code paths: a row for each product in MySQL, an item for each order in DynamoDB.
 * Each call goes to the side that the route file of {@code whimbrel cutover} names, so the application runs through a
 * cutover and a rollback without a restart. One object is for one thread.
 *
 * <p>It needs JDK 17, and a JDBC driver on the class path. {@link InDynamoDb} signs its requests itself, so that the
 * example needs nothing else; with the AWS SDK each of its methods is one call.
 */
public final class Purchases implements AutoCloseable {

    /** A line of an order: the primary key in MySQL. In DynamoDB the product is an attribute of the order's item. */
    public record Line(String customer, String order, String product) {}

    /** One side. */
    interface Store {
        Optional<Integer> quantity(Line line) throws Exception;

        void put(Line line, int quantity) throws Exception;

        void remove(Line line) throws Exception;
    }

    /** Thrown where writes are closed: ask the route again, and go where it points. */
    static final class Closed extends Exception {
        Closed(Throwable cause) {
            super(cause);
        }
    }

    private final Route route;
    private final InMySql mySql;
    private final InDynamoDb dynamoDb;

    public Purchases(Path route, Duration lease, InMySql mySql, InDynamoDb dynamoDb) {
        this.route = new Route(route, lease);
        this.mySql = mySql;
        this.dynamoDb = dynamoDb;
    }

    public Optional<Integer> quantity(Line line) throws Exception {
        return atTheOpenSide(store -> store.quantity(line));
    }

    /** Sets the quantity. It may be carried out twice if an answer was lost, so it sets and does not add. */
    public void put(Line line, int quantity) throws Exception {
        atTheOpenSide(store -> {
            store.put(line, quantity);
            return null;
        });
    }

    public void remove(Line line) throws Exception {
        atTheOpenSide(store -> {
            store.remove(line);
            return null;
        });
    }

    @Override
    public void close() {
        mySql.close();
    }

    private interface Call<T> {
        T of(Store store) throws Exception;
    }

    private <T> T atTheOpenSide(Call<T> call) throws Exception {
        while (true) {
            String side = route.side();
            try {
                switch (side) {
                    case "mysql":
                        return call.of(mySql);
                    case "dynamodb":
                        return call.of(dynamoDb);
                    case "none": // neither takes writes: the switch is under way
                        break;
                    default:
                        throw new IOException("not a side: " + side);
                }
            } catch (Closed closed) {
                route.forget();
            }
            Thread.sleep(20);
        }
    }

    /** Which side takes writes, read again once it is older than the lease that the cutover counts on. */
    static final class Route {
        private static final Pattern SIDE = Pattern.compile("\"side\"\\s*:\\s*\"(\\w+)\"");
        private final Path path;
        private final long lease;
        private String side = "";
        private long readAt;

        Route(Path path, Duration lease) {
            this.path = path;
            this.lease = lease.toNanos();
        }

        String side() throws IOException {
            long now = System.nanoTime(); // before it is read: the lease counts from here
            if (side.isEmpty() || now - readAt > lease / 2) {
                side = read();
                readAt = now;
            }
            return side;
        }

        void forget() {
            side = "";
        }

        private String read() throws IOException {
            String text;
            try {
                text = Files.readString(path);
            } catch (NoSuchFileException nothingWasEverRouted) {
                return "mysql";
            }
            Matcher found = SIDE.matcher(text);
            if (!found.find()) {
                throw new IOException("not a route: " + path);
            }
            return found.group(1);
        }
    }

    /** Rows of the table {@code purchase}. */
    static final class InMySql implements Store, AutoCloseable {
        private static final int BY_TRIGGER = 1644;
        private static final int READ_ONLY_SCHEMA = 3989;
        private static final int REVOKED = 1142;
        private final String url;
        private final String user;
        private final String password;
        private Connection connection;

        InMySql(String url, String user, String password) {
            this.url = url;
            this.user = user;
            this.password = password;
        }

        @Override
        public Optional<Integer> quantity(Line line) throws Exception {
            String sql = "SELECT quantity FROM purchase WHERE customerid = ? AND orderid = ? AND productid = ?";
            try (PreparedStatement select = prepared(sql, line.customer(), line.order(), line.product());
                    ResultSet rows = select.executeQuery()) {
                return rows.next() ? Optional.of(rows.getInt(1)) : Optional.empty();
            }
        }

        @Override
        public void put(Line line, int quantity) throws Exception {
            String sql = "INSERT INTO purchase VALUES (?, ?, ?, ?) ON DUPLICATE KEY UPDATE quantity = ?";
            write(sql, line.customer(), line.order(), line.product(), quantity, quantity);
        }

        @Override
        public void remove(Line line) throws Exception {
            String sql = "DELETE FROM purchase WHERE customerid = ? AND orderid = ? AND productid = ?";
            write(sql, line.customer(), line.order(), line.product());
        }

        private void write(String sql, Object... values) throws Exception {
            try (PreparedStatement statement = prepared(sql, values)) {
                statement.executeUpdate();
            } catch (SQLException error) {
                int code = error.getErrorCode();
                if (code == BY_TRIGGER || code == READ_ONLY_SCHEMA || code == REVOKED) {
                    throw new Closed(error);
                }
                throw error;
            }
        }

        private PreparedStatement prepared(String sql, Object... values) throws SQLException {
            if (connection == null) {
                connection = DriverManager.getConnection(url, user, password);
            }
            PreparedStatement statement = connection.prepareStatement(sql);
            for (int n = 0; n < values.length; n++) {
                statement.setObject(n + 1, values[n]);
            }
            return statement;
        }

        @Override
        public void close() {
            try {
                if (connection != null) {
                    connection.close();
                }
            } catch (SQLException isGoneAlready) {
                connection = null;
            }
        }
    }

    /** Items of one order each: its products are attributes, their quantities the values. */
    static final class InDynamoDb implements Store {
        private static final Pattern NUMBER = Pattern.compile("\"N\"\\s*:\\s*\"(-?\\d+)\"");
        private final Signed service;
        private final String table;

        InDynamoDb(Signed service, String table) {
            this.service = service;
            this.table = table;
        }

        @Override
        public Optional<Integer> quantity(Line line) throws Exception {
            String names = "\"ProjectionExpression\": \"#p\", \"ExpressionAttributeNames\": {\"#p\": %s}";
            String answer = call("GetItem", line, names.formatted(json(line.product())) + ", \"ConsistentRead\": true");
            Matcher number = NUMBER.matcher(answer);
            return number.find() ? Optional.of(Integer.valueOf(number.group(1))) : Optional.empty();
        }

        @Override
        public void put(Line line, int quantity) throws Exception {
            String change = "\"UpdateExpression\": \"SET #p = :q\", \"ExpressionAttributeNames\": {\"#p\": %s}, "
                    + "\"ExpressionAttributeValues\": {\":q\": {\"N\": \"%d\"}}";
            call("UpdateItem", line, change.formatted(json(line.product()), quantity));
        }

        @Override
        public void remove(Line line) throws Exception {
            String change = "\"UpdateExpression\": \"REMOVE #p\", \"ExpressionAttributeNames\": {\"#p\": %s}, "
                    + "\"ReturnValues\": \"ALL_NEW\"";
            String left = call("UpdateItem", line, change.formatted(json(line.product())));
            if (!NUMBER.matcher(left).find()) { // an order without lines; no other thread writes it
                call("DeleteItem", line, "\"ReturnValues\": \"NONE\"");
            }
        }

        private String call(String operation, Line line, String more) throws Exception {
            String key = "{\"customerid\": {\"S\": %s}, \"orderid\": {\"S\": %s}}";
            String body = "{\"TableName\": %s, \"Key\": %s, %s}".formatted(
                    json(table), key.formatted(json(line.customer()), json(line.order())), more);
            return service.call(operation, body);
        }

        private static String json(String text) {
            StringBuilder found = new StringBuilder("\"");
            for (char c : text.toCharArray()) {
                if (c == '"' || c == '\\' || c < ' ') {
                    found.append("\\u%04x".formatted((int) c));
                } else {
                    found.append(c);
                }
            }
            return found.append('"').toString();
        }
    }

    /** Calls of DynamoDB's JSON protocol, signed by Signature Version 4. */
    static final class Signed {
        private static final DateTimeFormatter TIME =
                DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);
        private final HttpClient client = HttpClient.newBuilder()
                .version(HttpClient.Version.HTTP_1_1)
                .connectTimeout(Duration.ofSeconds(5))
                .build();
        private final URI endpoint;
        private final String region;
        private final String keyId;
        private final String secret;

        Signed(URI endpoint, String region, String keyId, String secret) {
            this.endpoint = endpoint;
            this.region = region;
            this.keyId = keyId;
            this.secret = secret;
        }

        String call(String operation, String body) throws Exception {
            String time = TIME.format(Instant.now());
            String target = "DynamoDB_20120810." + operation;
            HttpRequest request = HttpRequest.newBuilder(endpoint.resolve("/"))
                    .timeout(Duration.ofSeconds(5)) // shorter than write_seconds of the cutover
                    .header("Content-Type", "application/x-amz-json-1.0")
                    .header("X-Amz-Date", time)
                    .header("X-Amz-Target", target)
                    .header("Authorization", authorization(time, target, body))
                    .POST(HttpRequest.BodyPublishers.ofString(body))
                    .build();
            HttpResponse<String> answer = client.send(request, HttpResponse.BodyHandlers.ofString());
            if (answer.statusCode() != 200) {
                throw new IOException(operation + ": " + answer.statusCode() + " " + answer.body());
            }
            return answer.body();
        }

        private String authorization(String time, String target, String body) throws Exception {
            String names = "content-type;host;x-amz-date;x-amz-target";
            String headers = "content-type:application/x-amz-json-1.0\nhost:%s\nx-amz-date:%s\nx-amz-target:%s\n"
                    .formatted(endpoint.getAuthority(), time, target);
            String canonical = "POST\n/\n\n" + headers + "\n" + names + "\n" + sha256(body);
            String scope = time.substring(0, 8) + "/" + region + "/dynamodb/aws4_request";
            byte[] key = bytes("AWS4" + secret);
            for (String part : scope.split("/")) {
                key = hmac(key, part);
            }
            String text = "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + sha256(canonical);
            return "AWS4-HMAC-SHA256 Credential=%s/%s, SignedHeaders=%s, Signature=%s"
                    .formatted(keyId, scope, names, HexFormat.of().formatHex(hmac(key, text)));
        }

        private static byte[] hmac(byte[] key, String text) throws Exception {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(bytes(text));
        }

        private static String sha256(String text) throws Exception {
            return HexFormat.of().formatHex(MessageDigest.getInstance("SHA-256").digest(bytes(text)));
        }

        private static byte[] bytes(String text) {
            return text.getBytes(StandardCharsets.UTF_8);
        }
    }
}
