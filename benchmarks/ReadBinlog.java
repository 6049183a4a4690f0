import com.github.shyiko.mysql.binlog.BinaryLogClient;
import com.github.shyiko.mysql.binlog.event.DeleteRowsEventData;
import com.github.shyiko.mysql.binlog.event.EventData;
import com.github.shyiko.mysql.binlog.event.UpdateRowsEventData;
import com.github.shyiko.mysql.binlog.event.WriteRowsEventData;
import com.sun.management.OperatingSystemMXBean;
import java.lang.management.ManagementFactory;

/**
 * Reads a MySQL's log from a position to its end with mysql-binlog-connector-java, several times in one JVM. For each
 * time it prints how many rows there were, and how many seconds of CPU time it took.
 */
class ReadBinlog {
    static long rows;

    public static void main(String[] arguments) throws Exception {
        var cpu = (OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean();
        for (int run = Integer.parseInt(arguments[6]); run > 0; run--) {
            var client = new BinaryLogClient(
                arguments[0], Integer.parseInt(arguments[1]), arguments[2], arguments[3]);
            client.setBinlogFilename(arguments[4]);
            client.setBinlogPosition(Long.parseLong(arguments[5]));
            client.setBlocking(false); // it ends where the log does
            client.setServerId(4712);
            client.registerEventListener(event -> count(event.getData()));
            rows = 0;
            long began = cpu.getProcessCpuTime();
            client.connect();
            System.out.println(rows + " " + (cpu.getProcessCpuTime() - began) / 1e9);
        }
    }

    static void count(EventData data) {
        if (data instanceof WriteRowsEventData written) {
            rows += written.getRows().size();
        } else if (data instanceof UpdateRowsEventData updated) {
            rows += updated.getRows().size();
        } else if (data instanceof DeleteRowsEventData deleted) {
            rows += deleted.getRows().size();
        }
    }
}
