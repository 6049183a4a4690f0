// kinesalite's own command line listens on every interface; this one listens on 127.0.0.1 only.
const [root, port, path] = process.argv.slice(2)
const kinesalite = require(require.resolve('kinesalite', { paths: [root] }))
kinesalite({ path, createStreamMs: 0, deleteStreamMs: 0, updateStreamMs: 0, shardLimit: 10000 }).listen(Number(port), '127.0.0.1')
// It throws what a client does that goes away in the middle of a request, and would end with it.
process.on('uncaughtException', (error) => {
  if (error.code !== 'ECONNRESET') { console.error(error); process.exit(1) }
})
