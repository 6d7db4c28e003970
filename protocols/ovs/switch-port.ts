// Ports of a switch: description and counters (OpenFlow 1.3.5 sections 7.2.1 and 7.3.5.6).

import { linkDown, portDown } from './openflow-constants.ts';
import type { WireReader, WireWriter } from './wire-bytes.ts';

/** `number` is what flows call the port, `name` is the interface's. Speeds and features are left out. */
export interface SwitchPort {
  readonly number: number;
  readonly macAddress: Uint8Array;
  readonly name: string;
  /** Bits of enum ofp_port_config. */
  readonly config: number;
  /** Bits of enum ofp_port_state. */
  readonly state: number;
}

export interface PortStatistics {
  readonly number: number;
  readonly rxPackets: bigint;
  readonly txPackets: bigint;
  readonly rxBytes: bigint;
  readonly txBytes: bigint;
  readonly rxDropped: bigint;
  readonly txDropped: bigint;
  readonly rxErrors: bigint;
  readonly txErrors: bigint;
}

/** OFP_MAX_PORT_NAME_LEN, a closing NUL included. */
const nameLength = 16;
/** Six numbers on features and speeds of 32 bits each. */
const featureBytes = 24;
/** rx_frame_err, rx_over_err, rx_crc_err, collisions (64 bits each), duration (two of 32). */
const otherCounterBytes = 40;

/** Up as configured, with a carrier. */
export function isPortUp({ config, state }: SwitchPort): boolean {
  return (config & portDown) === 0 && (state & linkDown) === 0;
}

/** Text padded with NUL to a fixed length; what does not fit is cut. */
export function writeText(writer: WireWriter, text: string, length: number): void {
  const encoded = new TextEncoder().encode(text).subarray(0, length - 1);
  writer.bytes(encoded).zeros(length - encoded.length);
}

export function readText(reader: WireReader, length: number): string {
  const bytes = reader.bytes(length);
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end === -1 ? bytes : bytes.subarray(0, end));
}

export function writePort(writer: WireWriter, port: SwitchPort): void {
  writer.u32(port.number).zeros(4).bytes(port.macAddress).zeros(2);
  writeText(writer, port.name, nameLength);
  writer.u32(port.config).u32(port.state).zeros(featureBytes);
}

export function readPort(reader: WireReader): SwitchPort {
  const port = {
    number: reader.u32(),
    macAddress: reader.skip(4).bytes(6),
    name: readText(reader.skip(2), nameLength),
    config: reader.u32(),
    state: reader.u32(),
  };
  reader.skip(featureBytes);
  return port;
}

const counterNames = [
  'rxPackets',
  'txPackets',
  'rxBytes',
  'txBytes',
  'rxDropped',
  'txDropped',
  'rxErrors',
  'txErrors',
] as const;

export function writePortStatistics(writer: WireWriter, statistics: PortStatistics): void {
  writer.u32(statistics.number).zeros(4);
  for (const name of counterNames) writer.u64(statistics[name]);
  writer.zeros(otherCounterBytes);
}

export function readPortStatistics(reader: WireReader): PortStatistics {
  const number = reader.u32();
  reader.skip(4);
  const counters = Object.fromEntries(counterNames.map((name) => [name, reader.u64()]));
  reader.skip(otherCounterBytes);
  return { number, ...(counters as Record<(typeof counterNames)[number], bigint>) };
}
