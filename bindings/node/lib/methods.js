'use strict';
// Which functions a module offers as methods.

const { EventEmitter } = require('node:events');

const METHOD_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;
// What is exported by these names is something else.
const NO_METHODS = new Set(['constructor', 'default', 'Resource']);
// Of a resource's class, what is called from here alone.
const NO_RESOURCE_METHODS = new Set(['constructor', 'open', 'close', 'resume']);
// Where the program's own classes end.
const ROOTS = new Set([null, Object.prototype, EventEmitter.prototype, EventTarget.prototype]);

// The object whose functions are the methods: an ES module may export them as its default.
function methodsOf(loaded) {
  const named = Object.keys(loaded).some(
    (key) => key !== 'default' && typeof loaded[key] === 'function'
  );
  if (named || loaded.default === undefined) return loaded;
  return loaded.default;
}

const isClass = (value) => /^class\b/.test(Function.prototype.toString.call(value));

// The functions of an object or module by name, those of its classes included.
function functionsOf(object) {
  const found = new Map();
  for (
    let at = object;
    at !== null && at !== Object.prototype && at !== Function.prototype;
    at = Object.getPrototypeOf(at)
  ) {
    for (const key of Object.getOwnPropertyNames(at)) {
      if (NO_METHODS.has(key) || found.has(key) || !METHOD_NAME.test(key)) continue;
      const value = object[key];
      if (typeof value === 'function' && !isClass(value)) found.set(key, value);
    }
  }
  return found;
}

// The methods of a class whose objects are resources, inherited ones too. Names that begin with _ are
// its own business.
function resourceMethodsOf(Class) {
  const found = new Map();
  for (let at = Class.prototype; !ROOTS.has(at); at = Object.getPrototypeOf(at)) {
    for (const [key, { value }] of Object.entries(Object.getOwnPropertyDescriptors(at))) {
      if (NO_RESOURCE_METHODS.has(key) || key.startsWith('_') || !METHOD_NAME.test(key)) continue;
      if (typeof value === 'function' && !isClass(value) && !found.has(key)) found.set(key, value);
    }
  }
  return found;
}

module.exports = { methodsOf, functionsOf, resourceMethodsOf };
