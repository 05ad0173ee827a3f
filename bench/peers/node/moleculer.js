'use strict';
// Moleculer over its TCP transporter:
//
//   node moleculer.js server PORT CLIENT_PORT | node moleculer.js client PORT SERVER_PORT
//
// The two nodes know each other's addresses; nothing is looked for by UDP. What costs and is of no use here
// is off: metrics, tracing, the cache, validation, the circuit breaker and the like are off by default;
// the logger and the heartbeat's frequency are set.
const { ServiceBroker } = require('moleculer');
const { drive, exitWithInput } = require('./load.js');

const [role, port, otherPort] = process.argv.slice(2);
const [nodeID, otherID] = role === 'server' ? ['service', 'caller'] : ['caller', 'service'];
const broker = new ServiceBroker({
  nodeID,
  logger: false,
  heartbeatInterval: 10,
  transporter: {
    type: 'TCP',
    options: {
      udpDiscovery: false,
      port: Number(port),
      urls: [
        `tcp://127.0.0.1:${port}/${nodeID}`,
        `tcp://127.0.0.1:${otherPort}/${otherID}`,
      ],
    },
  },
});

async function main() {
  if (role === 'server') {
    broker.createService({ name: 'echo', actions: { unary: (context) => context.params.value } });
    await broker.start();
    console.log('listening');
    exitWithInput();
    return;
  }
  await broker.start();
  await broker.waitForServices('echo', 20_000);
  const params = { value: 'x'.repeat(32) };
  drive(() => broker.call('echo.unary', params));
}

main();
