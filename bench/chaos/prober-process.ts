// A prober inside a workload's namespace. `send` sends numbered packets by schedule, 1,000 a second by default, and
// keeps account of the answers; `answer` answers every packet with a number of its own, and
// is an Endpoint's service that takes TCP connections. A hiccup of the process makes
// up for what is due and is not taken for a loss; a missing route is one.
// Commands and results are JSON lines on standard input and output; it ends with its input.

import { createSocket, type RemoteInfo, type Socket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { checked, closeOnExec, libc, socketFamily } from '../../transports/netlink/libc.ts';
import { intervalMs, probePort as port, servicePort } from './ports.ts';
import { type Losses, SequenceAccount } from './sequence-account.ts';

export type ProberCommand =
  | { readonly type: 'begin'; readonly window: number; readonly to: string }
  | { readonly type: 'to'; readonly to: string }
  | {
      readonly type: 'end';
      /** What living answerers have sent in this window, by their process ids. */
      readonly answered: Readonly<Record<string, number>>;
    }
  | { readonly type: 'stop' }
  | { readonly type: 'endService' }
  | { readonly type: 'count'; readonly window: number };

export type ProberReply =
  | { readonly type: 'ready' }
  | { readonly type: 'begun'; readonly atMs: number }
  | { readonly type: 'stopped' }
  | { readonly type: 'ended'; readonly losses: Losses; readonly lateMs: number }
  | { readonly type: 'count'; readonly answered: number };

/** window, number, answerer, number of the answer: 32 bits each. */
const packetLength = 16;
const graceMs = 1_000;
/** After a long hiccup: no more at once than every queue on the way holds. */
const atOnceMax = 200;
/** SOCK_DGRAM; SOL_SOCKET, SO_RCVBUF, SO_RCVBUFFORCE. */
const datagram = 2;
const socketLevel = 1;
const receiveBuffer = 8;
const receiveBufferForce = 33;
const receiveBufferBytes = 16 << 20;

/** Monotonic, the same for every process of the machine. */
const nowMs = (): number => Number(process.hrtime.bigint()) / 1e6;

function reply(message: ProberReply): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

/** With room for seconds of packets, so that none is lost to a process that has to wait for its turn. */
async function openSocket(): Promise<Socket> {
  const descriptor = checked(
    libc.socket(socketFamily.inet, datagram | closeOnExec, 0),
    'open a UDP socket',
  );
  const bytes = new Uint8Array(new Int32Array([receiveBufferBytes]).buffer);
  const force = libc.setsockopt(descriptor, socketLevel, receiveBufferForce, bytes, bytes.length);
  if (force < 0) libc.setsockopt(descriptor, socketLevel, receiveBuffer, bytes, bytes.length);
  // sockaddr_in: family in host order, port in network order, any address.
  const address = new Uint8Array(16);
  address.set(new Uint8Array(new Uint16Array([socketFamily.inet]).buffer));
  new DataView(address.buffer).setUint16(2, port);
  checked(libc.bind(descriptor, address, address.length), `bind UDP port ${port}`);
  const socket = createSocket('udp4');
  socket.on('error', () => {});
  // Said at once, within the call, of a descriptor.
  const listening = once(socket, 'listening');
  socket.bind({ fd: descriptor });
  await listening;
  return socket;
}

function answer(socket: Socket): (command: ProberCommand) => void {
  let window = 0;
  let answered = 0;
  socket.on('message', (message: Uint8Array, { address }: RemoteInfo) => {
    if (message.length !== packetLength) return;
    const packet = new DataView(message.buffer, message.byteOffset, packetLength);
    if (packet.getUint32(0) !== window) {
      window = packet.getUint32(0);
      answered = 0;
    }
    packet.setUint32(8, process.pid);
    packet.setUint32(12, answered++);
    socket.send(message, port, address, () => {});
  });
  const service = createServer((connection) => {
    connection.on('error', () => {}).end();
  }).listen(servicePort);
  return (command) => {
    if (command.type === 'endService') service.close();
    if (command.type !== 'count') return;
    reply({ type: 'count', answered: command.window === window ? answered : 0 });
  };
}

class Sender {
  readonly #socket: Socket;
  #account = new SequenceAccount(intervalMs);
  #window = 0;
  #to = '';
  #beganMs = 0;
  #lateMs = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('message', (message: Uint8Array) => {
      const packet = new DataView(message.buffer, message.byteOffset, message.length);
      if (message.length !== packetLength || packet.getUint32(0) !== this.#window) return;
      const [number, answerer, answer] = [4, 8, 12].map((offset) => packet.getUint32(offset));
      this.#account.receive(number ?? 0, answerer ?? 0, answer ?? 0, nowMs() - this.#beganMs);
    });
  }

  async on(command: ProberCommand): Promise<void> {
    if (command.type === 'to') this.#to = command.to;
    if (command.type === 'begin') this.#begin(command.window, command.to);
    if (command.type === 'stop') await this.#stop();
    if (command.type === 'end') this.#end(command.answered);
  }

  #begin(window: number, to: string): void {
    this.#account = new SequenceAccount(intervalMs);
    this.#window = window;
    this.#to = to;
    this.#lateMs = 0;
    this.#beganMs = nowMs();
    this.#timer = setInterval(() => this.#sendDue(), intervalMs);
    reply({ type: 'begun', atMs: this.#beganMs });
  }

  #sendDue(): void {
    const due = Math.floor((nowMs() - this.#beganMs) / intervalMs) + 1;
    const missing = due - this.#account.sent;
    this.#lateMs = Math.max(this.#lateMs, (missing - 1) * intervalMs);
    for (let sent = 0; sent < Math.min(missing, atOnceMax); sent += 1) {
      const packet = new DataView(new ArrayBuffer(packetLength));
      packet.setUint32(0, this.#window);
      packet.setUint32(4, this.#account.send());
      // What cannot be sent is lost: there is no answer.
      this.#socket.send(new Uint8Array(packet.buffer), port, this.#to, () => {});
    }
  }

  /** Sends no more, and waits for what is under way. */
  async #stop(): Promise<void> {
    clearInterval(this.#timer);
    const until = nowMs() + graceMs;
    while (!this.#account.isComplete && nowMs() < until) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    reply({ type: 'stopped' });
  }

  #end(answered: Readonly<Record<string, number>>): void {
    for (const [pid, count] of Object.entries(answered)) {
      this.#account.tellAnswered(Number(pid), count);
    }
    const losses = this.#account.losses();
    this.#window = 0;
    reply({ type: 'ended', losses, lateMs: this.#lateMs });
  }
}

async function main(mode: string | undefined): Promise<void> {
  const socket = await openSocket();
  const sender = mode === 'send' ? new Sender(socket) : undefined;
  const onCommand = sender === undefined ? answer(socket) : undefined;
  const lines = createInterface({ input: process.stdin });
  lines.on('line', (line) => {
    const command = JSON.parse(line) as ProberCommand;
    onCommand?.(command);
    void sender?.on(command);
  });
  lines.on('close', () => process.exit(0));
  reply({ type: 'ready' });
}

await main(process.argv[2]);
