// dynalite's own command line listens on every interface; this one listens on 127.0.0.1 only.
const [root, port, path] = process.argv.slice(2)
const dynalite = require(require.resolve('dynalite', { paths: [root] }))
dynalite({ path, createTableMs: 0, deleteTableMs: 0, updateTableMs: 0 }).listen(Number(port), '127.0.0.1')
