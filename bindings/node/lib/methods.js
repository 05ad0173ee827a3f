'use strict';
// Which functions a module offers as methods.

const METHOD_NAME = /^[A-Za-z_][A-Za-z0-9_]{0,127}$/;

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
      if (key === 'constructor' || key === 'default' || found.has(key) || !METHOD_NAME.test(key))
        continue;
      const value = object[key];
      if (typeof value === 'function' && !isClass(value)) found.set(key, value);
    }
  }
  return found;
}

module.exports = { methodsOf, functionsOf };
