// Lever for Node. Values are what MessagePack has: null, booleans, numbers (integers beyond 2^53
// are BigInt), texts, bytes, arrays, objects (Map where a key is not a string), Date (Timestamp
// where a Date is not exact), Ext for extensions.

import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { StatusCode } from './lib/codes';

export { StatusCode };

/** A point in time that a Date cannot hold exactly. */
export class Timestamp {
  /** `nanos`: 0 by default. */
  constructor(seconds: number | bigint, nanos?: number);
  /** Since 1970; a BigInt beyond 2^53. */
  seconds: number | bigint;
  /** 0 to 999,999,999. */
  nanos: number;
}

/** An extension of MessagePack that Lever gives no meaning. */
export class Ext {
  /** `type`: -128 to 127, but not -1, which are timestamps. */
  constructor(type: number, data: Uint8Array);
  /** -128 to 127. */
  type: number;
  /** Its bytes. */
  data: Uint8Array;
}

/** The method itself answered with an error. */
export class MethodError extends Error {
  /** `value`: what the method threw. */
  constructor(value: unknown);
  /** What the method threw. Its fields, if it was an object, are fields of this error too. */
  value: any;
  [field: string]: any;
}

/** Trouble of the platform. */
export class LeverError extends Error {
  /** `executed`: 'unknown' by default. */
  constructor(
    code: StatusCode,
    message: string,
    executed?: 'no' | 'unknown',
    options?: ErrorOptions
  );
  /** Which trouble. */
  code: StatusCode;
  /** 'no': the method surely did not run, and may be called again. */
  executed: 'no' | 'unknown';
  /** Of a stream of a resource that could have gone on elsewhere: for openStream(), to take it up again. */
  resume?: ResumePoint;
}

/** What reads of a method's stream fail with when its resource moves: see `resume` of Resource. */
export class Moved extends Error {}

/** How far a stream had come. */
export interface ResumePoint {
  /** The last token that the method has sent with a message; empty without. */
  token: Uint8Array | string;
  /** How many messages of the method's have come. */
  received: number;
}

/** Names in lower case; the value of a name that ends in '-bin' is bytes. */
export type Metadata = Record<string, string | Uint8Array | Array<string | Uint8Array>>;

/** What may be said of one call or stream. */
export interface CallOptions {
  /** 60,000 by default for a call, none for a stream; Infinity for none. */
  timeoutMs?: number;
  /** Aborting it ends the call or stream with CANCELLED, whose `cause` is the signal's reason. */
  signal?: AbortSignal;
  /** The method may be run twice: an unknown outcome is tried again. */
  idempotent?: boolean;
  /** What is sent goes compressed (gzip), and is answered likewise: for slow networks. */
  compress?: boolean;
  /** Fields that the method sees as `context().metadata`. */
  metadata?: Metadata;
}

/** What may be said of a stream. */
export interface StreamOptions extends Omit<CallOptions, 'idempotent'> {
  /** `resume` of a resource runs in place of the method, from there on: `resume` of the LeverError that a
   * stream has ended with. What the method had read before is not known. */
  resume?: ResumePoint;
}

/** Where a client calls, and how. */
export interface ClientOptions {
  /** '127.0.0.1:8080', 'host:8080', 'unix:/path', 'tls:host:8443'. Default: the host that this instance is
   * attached to, in its worker threads too; else LEVER_HOST, else 127.0.0.1:8080. */
  host?: string;
  /** Default: that of this instance, else LEVER_ENV, else dev.lever. */
  env?: string;
  /** No network: a call answers with its own arguments, a stream with its own messages. */
  echo?: boolean;
  /** Never straight to an instance. */
  onlyThroughHost?: boolean;
  /** 4 MiB by default. */
  messageBytesMax?: number;
  /** For a host with 'tls:' before its address; an error with another. */
  tls?: TlsOptions;
}

/** PEM files. They are followed: what replaces one is used by the next connection. */
export interface TlsOptions {
  /** Whose signature on the host's certificate is trusted. Default: LEVER_TLS_CA, SSL_CERT_FILE, the
   * system's. */
  ca?: string;
  /** For a host that asks for a client's certificate. Default: LEVER_TLS_CERT and LEVER_TLS_KEY. */
  cert?: string;
  /** The key of `cert`. */
  key?: string;
  /** The name that the host's certificate must bear. Default: the address's host. */
  serverName?: string;
}

/** Counters of a client, since it was made. */
export interface ClientStats {
  /** Calls and streams that went straight to an instance. */
  callsDirect: number;
  /** Calls and streams that went through the host. */
  callsThroughHost: number;
  /** How often something was sent again. */
  retries: number;
  /** Connections to instances that are open now. */
  directConnections: number;
}

/** How a stream is made one of Node's own. */
export interface DuplexOptions {
  /** A stream of bytes instead of one of objects: to pipe files and sockets. Message boundaries mean
   * nothing then, empty messages are skipped, and a message that is not bytes is an error. */
  bytes?: boolean;
  /** As Node's streams have it: messages, or bytes. */
  highWaterMark?: number;
}

/** A stream of messages. Iterating it gives those of the other side; a client's stream is cancelled
 * when its iteration is left early. */
export interface Stream extends AsyncIterableIterator<any> {
  /** Resolves when there is room: awaiting it is back-pressure. Rejects with a LeverError or
   * MethodError once the stream has ended. */
  write(message: unknown): Promise<void>;
  /** No more messages from this side. */
  end(): void;
  /** Gives the stream up. */
  cancel(): void;
  /** The stream as one of Node's own, for `pipe` and `pipeline`, with back-pressure both ways. Use
   * either this or the other functions. Ending it ends this side alone; destroying it cancels a
   * client's stream, and ends a method's with the error. In a stream of objects the message null
   * cannot be read, which is an error. What is written after the method has ended well is dropped. */
  toDuplex(options?: DuplexOptions): Duplex;
  /** `await using`: a client's stream is cancelled unless it has ended, and has ended then; a
   * method's is ended. */
  [Symbol.asyncDispose](): Promise<void>;
}

/** A stream as its method sees it. */
export interface ServiceStream extends Stream {
  /** `token`: bytes or a text, at most 4 KiB, from which `resume` of the resource can go on once the message
   * has come. */
  write(message: unknown, options?: { token?: Uint8Array | string }): Promise<void>;
  /** The name of the method that was called. */
  readonly method: string;
  /** What it was called with. */
  readonly args: unknown[];
  /** Aborted when the resource moves and the stream is to go on there: the method is to return. Reads fail
   * with Moved from then on; what is written still goes out. A method that has neither read nor looked here has
   * ended the stream by returning. */
  readonly moving: AbortSignal;
}

/** Addresses: '/service/method', 'lever://environment/service/method'. A client with nothing in
 * flight does not keep the process alive. All of its promises reject with a MethodError or a
 * LeverError. */
export class Client {
  /** Connects when it is first used. Throws a LeverError for options that are wrong. */
  constructor(options?: ClientOptions);
  /** Calls a method, and resolves to its answer. */
  invoke(address: string, ...args: unknown[]): Promise<any>;
  /** invoke() with options. */
  call(address: string, args?: unknown[], options?: CallOptions): Promise<any>;
  /** Opens a stream to a streaming method. Throws a LeverError where an argument is wrong. */
  stream(address: string, ...args: unknown[]): Stream;
  /** stream() with options. */
  openStream(address: string, args?: unknown[], options?: StreamOptions): Stream;
  /** What it has done; once it is closed, until then. */
  stats(): ClientStats;
  /** Ends what is in flight with CANCELLED; resolves when all of it has ended. */
  close(): Promise<void>;
  /** `await using`: close(). */
  [Symbol.asyncDispose](): Promise<void>;
}

/** What the host has told of an instance. */
export interface ServiceDetails {
  /** The environment. */
  env: string;
  /** The service's name. */
  name: string;
  /** The instance's id. */
  instance: string;
  /** 0: attached without a deploy. */
  version: number;
  /** The bound address of `listen`, or ''. */
  listening: string;
}

/** What a method knows of the call that it runs in. */
export interface Context {
  /** When the caller stops waiting. */
  readonly deadline: Date | null;
  /** The caller's. */
  readonly metadata: Metadata;
  /** 'lever://env/service' of who calls, '' if it is outside. */
  readonly caller: string;
  /** `config` of lever.json, and what `lever config set` has laid over it. */
  readonly config: any;
  /** What `lever secret set` has set, by name. */
  readonly secrets: Readonly<Record<string, string>>;
  /** The instance that runs it. */
  readonly service: ServiceDetails;
  /** Aborted when the caller is gone or the deadline has passed. */
  readonly signal: AbortSignal;
  /** A client bound to the environment. */
  readonly client: Client;
  /** The name of the resource whose method it is, or which is opened or closed; null of none. */
  readonly resource: string | null;
  /** Its fencing token, a BigInt beyond 2^53; null without a resource. It only rises for one resource: a
   * store that refuses what comes with a lower one is written to by the newest owner alone. */
  readonly generation: number | bigint | null;
}

/** That of the method that is running here; undefined outside of one. It follows the method through
 * its awaits. */
export function context(): Context | undefined;

/** 'new': nothing is known of it. 'carried': with what its owner before has closed it with. 'lost': it may
 * have been open elsewhere, and what it was there is gone. */
export type Origin = 'new' | 'carried' | 'lost';

/** What a resource is opened with. */
export interface Opening<State = any> {
  /** What close() has returned at the owner before; undefined if nothing is carried. */
  state: State | undefined;
  /** Where it comes from. */
  origin: Origin;
}

/** Why a resource is closed. 'idle': nobody has called it for a while. 'moved': its shard goes to another
 * instance. 'upgrade': to one of another version. 'stopping': the instance stops. 'lost': it is another
 * instance's already. */
export type CloseReason = 'idle' | 'moved' | 'upgrade' | 'stopping' | 'lost';

/** What the objects of a service's class `Resource` may have beside their methods. All that their class
 * and its bases have as methods are called by '/service/resource/method', but `constructor`, `open`,
 * `resume`, `close` and names that begin with _. */
export interface Resource<State = any> {
  /** Before the first call. What it throws is told to those who call, whose methods have not run. */
  open?(name: string, opening: Opening<State>): unknown;
  /** With it, streams go on where the resource moves to: at its owner before the method is told by
   * `stream.moving`, and returns; then, here, this runs in its place. The caller sees one stream: what the
   * method had not read is read here, and nothing comes twice. `token`: the last that was sent with a
   * message, empty without; `received`: how many messages the caller has got. Without it the stream ends
   * with UNAVAILABLE. */
  resume?(stream: ServiceStream, token: Uint8Array, received: number | bigint): unknown;
  /** After the last one, with what is to be carried to the next owner: undefined for nothing. It has 5 s.
   * What is returned for 'idle' and 'lost' is dropped. */
  close?(reason: CloseReason): State | undefined | void | Promise<State | undefined | void>;
}

/** How the resources of a service run. */
export interface ResourceOptions {
  /** One unary call of a resource at a time; the others wait. Streams are not counted. */
  serial?: boolean;
  /** So many at a time. 0: any number. */
  maxConcurrency?: number;
  /** How long a resource that nobody calls stays open. Default: 3 minutes. */
  idleTimeoutMs?: number;
}

/** The class of a service's resources; one object of it is one resource that is open here. */
export interface ResourceClass extends ResourceOptions {
  new (): object;
}

/** What a service is, and which host it attaches itself to. */
export interface ServiceOptions {
  /** Left out in an instance that a host has started. */
  name?: string;
  /** Default: LEVER_ENV, else dev.lever. */
  env?: string;
  /** As for a client. */
  host?: string;
  /** An address of its own on which it takes calls from anybody; port 0 for any. With `tls:` before it, for
   * callers that the host cannot introduce: each shows there a token of the host's. */
  listen?: string;
  /** Calls from outside of its environment are refused. Not together with a plain `listen`. */
  private?: boolean;
  /** 0: only the transport's limits. */
  maxConcurrency?: number;
  /** Default: what the host says, else 30 s. */
  drainTimeoutMs?: number;
  /** Of its class `Resource`; goes before what the class says itself. */
  resource?: ResourceOptions;
}

/** This program as an instance of a service. It keeps the process alive until it is drained or
 * closed. While its host is away it tries again, with pauses from 50 ms to 5 s, a fifth more or less.
 *
 * Events: 'attached', 'detached' (with a LeverError; it attaches again), 'draining', 'drained',
 * 'closed'. */
export class Service extends EventEmitter {
  /** Throws a LeverError for options that are wrong. `serve()` does all three steps. */
  constructor(options?: ServiceOptions);
  /** Before start(): the functions of an object become methods, and a class that is called `Resource`
   * becomes that of the service's resources. */
  add(object: object): this;
  /** How many methods were added, those of resources included. */
  readonly methodCount: number;
  /** Attaches to the host and takes calls. */
  start(): this;
  /** What the host has told. */
  readonly details: ServiceDetails;
  /** `config` of lever.json, and what `lever config set` has laid over it. */
  readonly config: any;
  /** What `lever secret set` has set, by name. */
  readonly secrets: Readonly<Record<string, string>>;
  /** A client over the service's own connection to its host. */
  readonly client: Client;
  /** Resolves when the host knows the service; rejects if it is closed before that. */
  attached(): Promise<void>;
  /** No new calls; resolves when what ran has ended, and rejects if it is closed before that. */
  drain(): Promise<void>;
  /** Resolves when nothing is left after a drain, whoever asked for it; rejects as drain(). */
  drained(): Promise<void>;
  /** Ends what runs, and what `client` has in flight, with CANCELLED; resolves when all of it has ended. */
  close(): Promise<void>;
  /** `await using`: drain(), then close(). */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Makes this program an instance of a service, whose methods are the functions of `object`: those
 * whose names end in Chan or _chan, or are chan, get a ServiceStream as their first argument. A class that is
 * called `Resource` is a ResourceClass. */
export function serve(object: object, options: ServiceOptions): Service;

/** Of the native library. */
export const version: string;
