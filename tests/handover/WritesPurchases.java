import java.io.IOException;
import java.io.OutputStream;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Random;

/**
 * Writes purchases by docs/examples/java/Purchases.java until its standard input ends, and notes each write for
 * demo/judge.py: what it sends before, and that it was taken after. Reads back what it wrote.
 *
 * <p>Arguments: the JDBC URL, user, password, endpoint, table, route file, folder of the logs, threads.
 */
final class WritesPurchases {
    private static volatile boolean stopped;

    public static void main(String[] arguments) throws Exception {
        Thread[] threads = new Thread[Integer.parseInt(arguments[7])];
        for (int number = 0; number < threads.length; number++) {
            int mine = number;
            threads[number] = new Thread(() -> write(arguments, mine));
            threads[number].start();
        }
        while (System.in.read() >= 0) {
            // until the end
        }
        stopped = true;
        for (Thread thread : threads) {
            thread.join();
        }
    }

    private static void write(String[] at, int number) {
        Path path = Path.of(at[6], "%02d.log".formatted(number));
        var service = new Purchases.Signed(URI.create(at[3]), "us-east-1", "local", "local");
        var rows = new Purchases.InMySql(at[0], at[1], at[2]);
        var items = new Purchases.InDynamoDb(service, at[4]);
        try (OutputStream log = Files.newOutputStream(path, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
                var purchases = new Purchases(Path.of(at[5]), Duration.ofMillis(100), rows, items)) {
            Random chance = new Random(number);
            for (int sent = 1; !stopped; sent++) {
                var line = new Purchases.Line(
                        "customer" + number, "order" + number + "-" + chance.nextInt(3), "product" + chance.nextInt(4));
                boolean removed = chance.nextInt(4) == 0;
                note(log, "sent", sent, line, removed, "");
                if (removed) {
                    purchases.remove(line);
                } else {
                    purchases.put(line, sent);
                }
                note(log, "taken", sent, line, removed, Files.exists(Path.of(at[5])) ? "any" : "mysql");
                Integer found = purchases.quantity(line).orElse(null);
                if (removed ? found != null : found == null || found != sent) {
                    throw new IllegalStateException(line + ": read " + found + " after " + sent);
                }
                Thread.sleep(15);
            }
        } catch (Exception error) {
            error.printStackTrace();
            System.exit(1);
        }
    }

    private static void note(
            OutputStream log, String what, int number, Purchases.Line line, boolean removed, String side)
            throws IOException {
        String text = "[\"%s\",%d,[\"%s\",\"%s\",\"%s\"],%s,\"%s\",%.6f]%n".formatted(
                what, number, line.customer(), line.order(), line.product(), removed ? "null" : "" + number, side,
                System.nanoTime() / 1e9);
        log.write(text.getBytes(StandardCharsets.UTF_8));
    }
}
