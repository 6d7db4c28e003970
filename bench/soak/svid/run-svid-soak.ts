// A soak of identities: SVIDs that live for some seconds, under packets at full rate and Requests that never stop, while
// everything in the mesh is replaced again and again: certificates, connections, streams, tokens. Nothing is broken by
// hand, so nothing may be lost.

import { setTimeout as pause } from 'node:timers/promises';
import { createPlatform, type Platform } from '../../../bin/roles/platform.ts';
import { silentLog } from '../../../protocols/ports/log.ts';
import { monotonicMs, type ProbeResult } from '../../chaos/probe.ts';
import { type ChaosWire, Scene } from '../../chaos/scene.ts';
import { createStage, type Stage } from '../../chaos/stage.ts';
import { type RequestFigures, Requesters } from './requesters.ts';
import { type StreamFigures, WatchedStreams } from './watched-streams.ts';

export interface SvidSoakOptions {
  readonly svidLifetimeMs: number;
  /** Under packets. */
  readonly durationMs: number;
  /** Between the parts. */
  readonly bus: 'grpc' | 'nats';
  readonly executable?: string;
  readonly progress: (text: string) => void;
  readonly signal: AbortSignal;
}

export interface WireFigures extends ProbeResult {
  readonly name: string;
  /** Of the client's interface and addresses. */
  readonly changed: readonly string[];
}

export interface SvidSoakResult {
  readonly svidLifetimeMs: number;
  readonly bus: 'grpc' | 'nats';
  readonly seconds: number;
  /** SVIDs that this process was given meanwhile. */
  readonly renewals: number;
  readonly wires: readonly WireFigures[];
  readonly requests: RequestFigures;
  readonly streams: StreamFigures;
  /** Clients whose connection was anything but established, with what they said. */
  readonly unwell: readonly string[];
  readonly orphans: readonly string[];
}

const lookEveryMs = 100;
const tellEveryMs = 10_000;

export async function runSvidSoak(options: SvidSoakOptions): Promise<SvidSoakResult> {
  const { svidLifetimeMs, bus, executable } = options;
  const stage = await createStage({
    nodes: 2,
    busServers: 1,
    partsMeetOver: bus,
    svidLifetimeMs,
    ...(executable === undefined ? {} : { executable }),
  });
  let measured: Omit<SvidSoakResult, 'orphans'> | undefined;
  let orphans: readonly string[] = [];
  try {
    const scene = new Scene(stage);
    try {
      measured = await withPlatform(stage, (platform) => onScene(options, scene, platform));
    } finally {
      orphans = await scene.end();
    }
    if (findingsIn(measured)) for (const line of stage.logLines()) options.progress(line);
  } finally {
    orphans = [...orphans, ...(await stage.close())];
  }
  return { ...measured, orphans };
}

const findingsIn = ({ requests, streams, unwell }: Omit<SvidSoakResult, 'orphans'>): boolean =>
  requests.failures.length + streams.failures.length + unwell.length > 0;

async function withPlatform<T>(stage: Stage, work: (platform: Platform) => Promise<T>): Promise<T> {
  const platform = await createPlatform({
    name: 'soak',
    log: silentLog,
    natsUrl: undefined,
    ...(await stage.mesh.securityOf('soak')),
  });
  try {
    return await work(platform);
  } finally {
    await platform.stop(5_000);
  }
}

async function onScene(
  options: SvidSoakOptions,
  scene: Scene,
  platform: Platform,
): Promise<Omit<SvidSoakResult, 'orphans'>> {
  const { stage } = scene;
  const [near, far] = stage.nodes;
  if (near === undefined || far === undefined) throw new Error('a soak has two nodes');
  await scene.addWire({ service: 'local', endpointNode: near });
  await scene.addWire({ service: 'remote', endpointNode: far });
  const services = scene.wires.map(({ service }) => service);
  const urls = stage.nodes.map((node) => stage.mesh.socketOf(node));
  const requesters = new Requesters(stage, platform, services, options.progress);
  const streams = new WatchedStreams(platform, urls);
  let renewals = 0;
  const unwatch = platform.identity?.watch(() => (renewals += 1)) ?? (() => {});
  const before = await Promise.all(scene.wires.map(describeEnd));
  const beganMs = monotonicMs();
  for (const wire of scene.wires) await wire.sender.begin(scene.peerOf(wire));
  requesters.start();
  streams.start();
  let unwell: readonly string[] = [];
  try {
    unwell = await watchClients(options, scene, () => requesters.figures);
  } finally {
    await Promise.all([requesters.end(), streams.end()]);
    unwatch();
  }
  const seconds = (monotonicMs() - beganMs) / 1_000;
  const wires = await Promise.all(
    scene.wires.map((wire, at) => figuresOf(scene, wire, before[at] ?? '')),
  );
  const { svidLifetimeMs, bus } = options;
  const { figures } = requesters;
  const result = { svidLifetimeMs, bus, seconds, renewals, wires, unwell };
  return { ...result, requests: figures, streams: streams.figures };
}

/** For as long as packets are to flow. */
async function watchClients(
  { durationMs, progress, signal }: SvidSoakOptions,
  scene: Scene,
  requests: () => RequestFigures,
): Promise<readonly string[]> {
  const unwell = new Set<string>();
  const beganMs = monotonicMs();
  let toldMs = 0;
  for (;;) {
    const spentMs = monotonicMs() - beganMs;
    if (spentMs >= durationMs) return [...unwell];
    signal.throwIfAborted();
    for (const wire of scene.wires) {
      const now = wire.report();
      if (now?.event === 'established') continue;
      unwell.add(`${wire.client.name}: ${now?.event}, ${now?.cause ?? ''} ${now?.error ?? ''}`);
    }
    if (spentMs - toldMs >= tellEveryMs) {
      toldMs = spentMs;
      const { created, refreshed, failures } = requests();
      progress(
        `${Math.round(spentMs / 1_000)} s: ${created + refreshed} Requests, ${failures.length} failed`,
      );
    }
    await pause(lookEveryMs);
  }
}

async function figuresOf(scene: Scene, wire: ChaosWire, before: string): Promise<WireFigures> {
  const losses = await wire.sender.end(scene.answerers);
  const after = await describeEnd(wire);
  const changed = after === before ? [] : [`${before} became ${after}`];
  return { ...losses, name: wire.service, changed };
}

async function describeEnd(wire: ChaosWire): Promise<string> {
  return JSON.stringify(await wire.facts());
}
