'use strict';
// Which functions a module offers as methods.

// The object whose functions are the methods: an ES module may export them as its default.
function methodsOf(loaded) {
  const named = Object.keys(loaded).some(
    (key) => key !== 'default' && typeof loaded[key] === 'function'
  );
  if (named || loaded.default === undefined) return loaded;
  return loaded.default;
}

module.exports = { methodsOf };
