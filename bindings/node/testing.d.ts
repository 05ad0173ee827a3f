// For tests of services: services and a client in one process, without a host and a network.

import { Client } from './index.js';

/** How a test wants it. */
export interface TestingOptions {
  /** For each service by name what `config` of its lever.json would be. */
  config?: Record<string, unknown>;
  /** For each service by name what `lever secret set` would have set. */
  secrets?: Record<string, Record<string, string>>;
  /** Default: LEVER_ENV, else dev.lever. */
  env?: string;
  /** Lever's time stands still and is moved by advance() alone: timeouts and deadlines of calls, for
   * one. It is that of everything of Lever in this thread. Node's own timers go on. */
  holdTime?: boolean;
}

/** Services that run, and a client that calls them. */
export interface Testing {
  /** Calls the services by name: '/hello/sayHello'. Those that were not started are NOT_FOUND. */
  readonly client: Client;
  /** Moves the time that is held, and resolves when what was due has happened. FAILED_PRECONDITION
   * without `holdTime`. */
  advance(ms: number): Promise<void>;
  /** Ends what runs with CANCELLED, and resolves when it has ended. */
  close(): Promise<void>;
  /** `await using`: close(). */
  [Symbol.asyncDispose](): Promise<void>;
}

/** Starts services. What is given for a name is a module or object whose functions are the methods,
 * as a deployed service's module. In their methods `lever.context()` is as in a deployed one:
 * `context().client` calls the services of the test. */
export function start(services: Record<string, object>, options?: TestingOptions): Promise<Testing>;
