// One side of a UDP exchange inside a namespace. `echo <address> <port>` answers every datagram until its standard input
// closes; `ask <from> <to> <port>` sends one from a chosen source address and prints the answer, or why there is none.

import { createSocket } from 'node:dgram';

const [mode, ...args] = process.argv.slice(2);
const typeOf = (address: string) => (address.includes(':') ? 'udp6' : 'udp4');
const answerWithinMs = 1_000;

function echo(address: string, port: number): void {
  const socket = createSocket(typeOf(address));
  socket.on('message', (message, { address: to, port: toPort }) => {
    socket.send(message, toPort, to);
  });
  socket.bind(port, address, () => process.stdout.write('ready\n'));
  process.stdin.on('end', () => socket.close()).resume();
}

function ask(from: string, to: string, port: number): void {
  const socket = createSocket(typeOf(from));
  const end = (text: string): void => {
    process.stdout.write(`${text}\n`, () => process.exit(0));
  };
  socket.on('message', (message) => end(String(message)));
  socket.on('error', (error: NodeJS.ErrnoException) => end(error.code ?? error.message));
  socket.bind(0, from, () => {
    socket.send('hello', port, to, (error: NodeJS.ErrnoException | null) => {
      if (error !== null) end(error.code ?? error.message);
    });
  });
  setTimeout(() => end('no answer'), answerWithinMs);
}

if (mode === 'echo') echo(args[0] ?? '', Number(args[1]));
else ask(args[0] ?? '', args[1] ?? '', Number(args[2]));
